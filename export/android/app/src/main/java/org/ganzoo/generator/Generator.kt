package org.ganzoo.generator

import android.content.res.AssetManager
import android.graphics.Bitmap
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import com.google.ai.edge.litert.LiteRtException
import kotlin.math.acos
import kotlin.math.roundToInt
import kotlin.math.sin
import kotlin.math.sqrt

/** A generator from the app's assets, on the graphics processor where it takes the file, else on the processor. */
class Generator(assets: AssetManager, asset: String) : AutoCloseable {
    val metadata: Metadata = Metadata.of(assets.open(asset).use { it.readBytes() })
    var accelerator: Accelerator = Accelerator.GPU
        private set
    private val model: CompiledModel = try {
        CompiledModel.create(assets, asset, CompiledModel.Options(Accelerator.GPU))
    } catch (error: LiteRtException) {
        accelerator = Accelerator.CPU
        CompiledModel.create(assets, asset, CompiledModel.Options(Accelerator.CPU))
    }
    private val inputs = metadata.inputs.associate { it.name to model.createInputBuffer(it.name) }
    private val output = model.createOutputBuffer(metadata.outputName)

    /** One image: of latents, a class and a truncation (1 is none). Not for several threads at once. */
    fun image(latents: FloatArray, classId: Int, truncation: Float): Bitmap {
        for (input in metadata.inputs) {
            val buffer = inputs.getValue(input.name)
            when {
                input.isLatents -> buffer.writeFloat(latents)
                input.classes > 0 -> buffer.writeInt(intArrayOf(classId))
                else -> buffer.writeFloat(floatArrayOf(truncation))
            }
        }
        model.run(inputs, mapOf(metadata.outputName to output))
        return bitmap(output.readFloat())
    }

    private fun bitmap(values: FloatArray): Bitmap {
        val (height, width, channels) = metadata.shape
        val scale = 255 / (metadata.high - metadata.low)
        val colours = IntArray(height * width) { pixel ->
            var colour = 0xFF
            for (channel in 0..2) {
                val value = values[pixel * channels + channel.coerceAtMost(channels - 1)]
                colour = (colour shl 8) or ((value - metadata.low) * scale).roundToInt().coerceIn(0, 255)
            }
            colour
        }
        return Bitmap.createBitmap(colours, width, height, Bitmap.Config.ARGB_8888)
    }

    override fun close() {
        inputs.values.forEach { it.close() }
        output.close()
        model.close()
    }
}

/** On the great circle from one vector of latents to another (Shoemake 1985), so that the length stays likely. */
fun between(first: FloatArray, second: FloatArray, share: Float): FloatArray {
    fun dot(a: FloatArray, b: FloatArray) = a.indices.sumOf { a[it].toDouble() * b[it] }
    val cosine = dot(first, second) / sqrt(dot(first, first) * dot(second, second)).coerceAtLeast(1e-12)
    val angle = acos(cosine.coerceIn(-1.0, 1.0))
    val (a, b) = if (angle < 1e-4) {
        1.0 - share to share.toDouble()
    } else {
        sin((1 - share) * angle) / sin(angle) to sin(share * angle) / sin(angle)
    }
    return FloatArray(first.size) { (a * first[it] + b * second[it]).toFloat() }
}
