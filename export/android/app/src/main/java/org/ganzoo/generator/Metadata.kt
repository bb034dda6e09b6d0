package org.ganzoo.generator

import android.util.Base64
import android.util.Half
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.json.JSONArray
import org.json.JSONException
import org.json.JSONObject

/** What ganzoo wrote into a `.tflite`: its inputs, what comes out, classes, directions. */
class Metadata(json: JSONObject) {
    /** An input by its name; `classes` is 0 where it is no class. */
    class Input(val name: String, val size: Int, val isLatents: Boolean, val classes: Int)

    val entry: String = json.getString("entry")
    val inputs: List<Input> = json.getJSONArray("inputs").objects().map {
        val size = it.getJSONArray("shape").numbers().fold(1) { product, side -> product * side }
        Input(it.getString("name"), size, it.getString("distribution") == "standard normal", it.optInt("classes"))
    }
    val latents: Input = inputs.first { it.isLatents }
    val classes: Int = inputs.maxOf { it.classes }
    val classNames: List<String> = json.getJSONArray("class_names").let { names -> List(names.length()) { names.getString(it) } }
    private val output = json.getJSONArray("outputs").getJSONObject(0)
    val outputName: String = output.getString("name")
    val shape: List<Int> = output.getJSONArray("shape").numbers() // height, width, channels
    val low: Float = output.getJSONArray("range").getDouble(0).toFloat()
    val high: Float = output.getJSONArray("range").getDouble(1).toFloat()

    /** Unit vectors along which samples change most, the strongest first. */
    val directions: List<FloatArray> = unpack(json.getJSONObject("directions").optJSONObject(latents.name))

    private fun unpack(packed: JSONObject?): List<FloatArray> {
        val (count, size) = packed?.getJSONArray("shape")?.numbers() ?: return emptyList()
        val halves = ByteBuffer.wrap(Base64.decode(packed.getString("float16"), Base64.DEFAULT)).order(ByteOrder.LITTLE_ENDIAN)
        return List(count) { FloatArray(size) { Half.toFloat(halves.short) } }
    }

    companion object {
        private const val NAME = "ganzoo"
        private const val VERSION = 1
        private const val MODEL_BUFFERS = 4 // fields of TFLite's schema, by their numbers
        private const val MODEL_METADATA = 6

        /** Reads the metadata; throws an IllegalArgumentException that says what is wrong with the file. */
        fun of(file: ByteArray): Metadata {
            val text = try {
                find(ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN))
            } catch (error: IndexOutOfBoundsException) {
                throw IllegalArgumentException("This is no TFLite file, or it is damaged.", error)
            } ?: throw IllegalArgumentException("This TFLite file holds no metadata of ganzoo.")
            try {
                val json = JSONObject(text)
                require(json.getInt("metadata_version") == VERSION) { "This file is of another version of ganzoo." }
                return Metadata(json)
            } catch (error: JSONException) {
                throw IllegalArgumentException("The metadata of this TFLite file are damaged.", error)
            }
        }

        // Flatbuffers: a table's field is found by its number, through the table's list of offsets.
        private fun find(file: ByteBuffer): String? {
            val model = file.getInt(0)
            val buffers = tables(file, field(file, model, MODEL_BUFFERS))
            for (entry in tables(file, field(file, model, MODEL_METADATA))) {
                val name = field(file, entry, 0)
                if (name == 0 || text(file, name + file.getInt(name)) != NAME) continue
                val number = field(file, entry, 1).let { if (it == 0) 0 else file.getInt(it) }
                val data = field(file, buffers[number], 0)
                return text(file, data + file.getInt(data))
            }
            return null
        }

        private fun field(file: ByteBuffer, table: Int, number: Int): Int {
            val offsets = table - file.getInt(table)
            val at = 4 + 2 * number
            val offset = if (at < file.getShort(offsets)) file.getShort(offsets + at).toInt() else 0
            return if (offset == 0) 0 else table + offset
        }

        private fun tables(file: ByteBuffer, place: Int): List<Int> {
            if (place == 0) return emptyList()
            val start = place + file.getInt(place)
            val count = file.getInt(start)
            if (count < 0 || count > file.capacity() / 4) throw IndexOutOfBoundsException("a list longer than the file")
            return List(count) { (start + 4 + 4 * it).let { item -> item + file.getInt(item) } }
        }

        private fun text(file: ByteBuffer, start: Int): String {
            val size = file.getInt(start)
            if (size < 0 || size > file.capacity() - start - 4) throw IndexOutOfBoundsException("text beyond the file")
            return String(file.array(), start + 4, size, Charsets.UTF_8)
        }
    }
}

private fun JSONArray.objects() = List(length()) { getJSONObject(it) }

private fun JSONArray.numbers() = List(length()) { getInt(it) }
