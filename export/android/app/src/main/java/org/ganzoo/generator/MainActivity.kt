package org.ganzoo.generator

import android.app.Activity
import android.content.ContentValues
import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Color
import android.os.Build
import android.os.Bundle
import android.os.Environment
import android.os.Handler
import android.os.Looper
import android.provider.MediaStore
import android.text.InputType
import android.view.View
import android.widget.AdapterView
import android.widget.ArrayAdapter
import android.widget.Button
import android.widget.EditText
import android.widget.GridLayout
import android.widget.ImageView
import android.widget.LinearLayout
import android.widget.ScrollView
import android.widget.SeekBar
import android.widget.Spinner
import android.widget.TextView
import android.widget.Toast
import java.util.Random
import java.util.concurrent.Executors
import kotlin.math.PI
import kotlin.math.cos

/** A grid of samples; the first chosen one follows the sliders, and a film goes from it to the second. */
class MainActivity : Activity() {
    private class Sample(val latents: FloatArray, val classId: Int, directions: Int, val view: ImageView) {
        val shifts = FloatArray(directions)
        var bitmap: Bitmap? = null
    }

    private val worker = Executors.newSingleThreadExecutor() // the generator belongs to this thread
    private val screen = Handler(Looper.getMainLooper())
    private lateinit var generator: Generator
    private lateinit var grid: GridLayout
    private lateinit var facts: TextView
    private lateinit var seed: EditText
    private lateinit var film: Button
    private var sliders = emptyList<SeekBar>()
    private var samples = emptyList<Sample>()
    private val chosen = mutableListOf<Sample>()
    private var truncation = 1f
    private var classId = -1 // all in turn

    @Volatile private var drawing = 0 // an older drawing than this stops

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        val column = LinearLayout(this).apply { orientation = LinearLayout.VERTICAL }
        setContentView(ScrollView(this).apply { addView(column) })
        facts = column.add(TextView(this))
        worker.execute {
            try {
                generator = Generator(assets, ASSET)
                screen.post { show(column) }
            } catch (error: Exception) { // a missing or broken file, or a runtime that does not take it
                screen.post { facts.text = error.message }
            }
        }
    }

    private fun show(column: LinearLayout) {
        val metadata = generator.metadata
        title = metadata.entry
        grid = column.add(GridLayout(this).apply { columnCount = COLUMNS })
        column.add(TextView(this).apply { setText(R.string.hint) })
        val buttons = column.add(LinearLayout(this))
        buttons.add(button(R.string.renew) { seed.setText((number(seed) + 1).toString()); renew() })
        film = buttons.add(button(R.string.film) { film() })
        buttons.add(button(R.string.save) { save() })
        column.add(TextView(this).apply { setText(R.string.seed) })
        seed = column.add(EditText(this).apply { inputType = InputType.TYPE_CLASS_NUMBER; setText("0") })
        seed.setOnEditorActionListener { _, _, _ -> renew(); false }
        if (metadata.classes > 0) column.add(classPicker(metadata))
        val label = column.add(TextView(this).apply { text = getString(R.string.truncation, 1f) })
        column.add(slider(100, 100) { label.text = getString(R.string.truncation, it / 100f); truncation = (it / 100f).coerceAtLeast(0.05f); draw(samples) })
        sliders = metadata.directions.take(SLIDERS).mapIndexed { index, _ ->
            column.add(TextView(this).apply { text = getString(R.string.direction, index + 1) })
            column.add(slider(80, 40) { value -> shift(index, (value - 40) / 10f) })
        }
        renew()
    }

    private fun classPicker(metadata: Metadata) = Spinner(this).apply {
        val names = List(metadata.classes) { metadata.classNames.getOrElse(it) { number -> number.toString() } }
        adapter = ArrayAdapter(this@MainActivity, android.R.layout.simple_spinner_dropdown_item, listOf(getString(R.string.all_in_turn)) + names)
        onItemSelectedListener = object : AdapterView.OnItemSelectedListener {
            override fun onItemSelected(parent: AdapterView<*>?, view: View?, position: Int, id: Long) {
                if (classId != position - 1) { classId = position - 1; renew() }
            }

            override fun onNothingSelected(parent: AdapterView<*>?) = Unit
        }
    }

    private fun renew() {
        val metadata = generator.metadata
        val random = Random(number(seed))
        chosen.clear()
        grid.removeAllViews()
        val side = resources.displayMetrics.widthPixels / COLUMNS
        samples = List(COUNT) { index ->
            val view = ImageView(this).apply {
                contentDescription = getString(R.string.image, index + 1)
                isFocusable = true
                setPadding(BORDER, BORDER, BORDER, BORDER)
            }
            val latents = FloatArray(metadata.latents.size) { random.nextGaussian().toFloat() }
            val category = if (classId >= 0) classId else index % metadata.classes.coerceAtLeast(1)
            Sample(latents, category, metadata.directions.size, view).also { sample ->
                view.setOnClickListener { choose(sample) }
                grid.addView(view, side, side)
            }
        }
        mark()
        draw(samples)
    }

    private fun draw(some: List<Sample>) {
        val mine = ++drawing
        worker.execute {
            for (sample in some) {
                if (mine != drawing) return@execute
                val began = System.nanoTime()
                val bitmap = generator.image(moved(sample), sample.classId, truncation)
                val milliseconds = (System.nanoTime() - began) / 1_000_000
                screen.post { put(sample, bitmap); facts.text = getString(R.string.facts, generator.accelerator.name, milliseconds) }
            }
        }
    }

    private fun put(sample: Sample, bitmap: Bitmap) {
        sample.bitmap = bitmap
        sample.view.setImageBitmap(bitmap)
        sample.view.scaleType = ImageView.ScaleType.FIT_CENTER
    }

    private fun moved(sample: Sample) = FloatArray(sample.latents.size) { place ->
        sample.latents[place] + generator.metadata.directions.indices.sumOf { (sample.shifts[it] * generator.metadata.directions[it][place]).toDouble() }.toFloat()
    }

    private fun choose(sample: Sample) {
        if (!chosen.remove(sample)) chosen.add(sample)
        if (chosen.size > 2) chosen.removeAt(0)
        mark()
    }

    private fun mark() {
        for (sample in samples) {
            sample.view.isSelected = sample in chosen
            sample.view.setBackgroundColor(when (sample) { chosen.getOrNull(0) -> Color.BLUE; chosen.getOrNull(1) -> Color.RED; else -> Color.TRANSPARENT })
        }
        film.isEnabled = chosen.size == 2
        sliders.forEachIndexed { index, slider -> slider.progress = 40 + ((chosen.firstOrNull()?.shifts?.get(index) ?: 0f) * 10).toInt() }
    }

    private fun shift(direction: Int, by: Float) {
        val some = if (chosen.isEmpty()) samples else chosen.take(1)
        some.forEach { it.shifts[direction] = by }
        draw(some)
    }

    private fun film() {
        val (first, second) = chosen
        val (from, to) = moved(first) to moved(second)
        val mine = ++drawing
        worker.execute {
            for (frame in 0..FRAMES) {
                if (mine != drawing) return@execute
                val share = (0.5 - 0.5 * cos(2 * PI * frame / FRAMES)).toFloat()
                val category = if (share < 0.5f) first.classId else second.classId
                val bitmap = generator.image(between(from, to, share), category, truncation)
                screen.post { put(first, bitmap) }
                Thread.sleep(FRAME_MILLISECONDS)
            }
        }
    }

    private fun save() {
        val bitmaps = chosen.ifEmpty { samples }.mapNotNull { it.bitmap }
        if (bitmaps.isEmpty()) return
        val (width, height) = bitmaps[0].width to bitmaps[0].height
        val columns = bitmaps.size.coerceAtMost(COLUMNS)
        val sheet = Bitmap.createBitmap(columns * width, (bitmaps.size + columns - 1) / columns * height, Bitmap.Config.ARGB_8888)
        val canvas = Canvas(sheet)
        bitmaps.forEachIndexed { index, bitmap -> canvas.drawBitmap(bitmap, (index % columns * width).toFloat(), (index / columns * height).toFloat(), null) }
        val name = "ganzoo_${number(seed)}.png"
        val values = ContentValues().apply {
            put(MediaStore.Images.Media.DISPLAY_NAME, name)
            put(MediaStore.Images.Media.MIME_TYPE, "image/png")
            if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.Q) put(MediaStore.Images.Media.RELATIVE_PATH, Environment.DIRECTORY_IMAGES)
        }
        val target = contentResolver.insert(MediaStore.Images.Media.EXTERNAL_CONTENT_URI, values) ?: return
        contentResolver.openOutputStream(target)?.use { sheet.compress(Bitmap.CompressFormat.PNG, 100, it) }
        Toast.makeText(this, getString(R.string.saved, name), Toast.LENGTH_SHORT).show()
    }

    private fun button(text: Int, action: () -> Unit) = Button(this).apply { setText(text); setOnClickListener { action() } }

    private fun slider(most: Int, start: Int, moved: (Int) -> Unit) = SeekBar(this).apply {
        max = most
        progress = start
        setOnSeekBarChangeListener(object : SeekBar.OnSeekBarChangeListener {
            override fun onProgressChanged(bar: SeekBar, value: Int, fromUser: Boolean) { if (fromUser) moved(value) }

            override fun onStartTrackingTouch(bar: SeekBar) = Unit

            override fun onStopTrackingTouch(bar: SeekBar) = Unit
        })
    }

    private fun number(field: EditText) = field.text.toString().toLongOrNull() ?: 0L

    private fun <T : View> LinearLayout.add(view: T): T = view.also { addView(it) }

    override fun onDestroy() {
        drawing++
        worker.execute { if (::generator.isInitialized) generator.close() }
        worker.shutdown()
        super.onDestroy()
    }

    private companion object {
        const val ASSET = "generator.tflite"
        const val COLUMNS = 4
        const val COUNT = 16
        const val SLIDERS = 4
        const val FRAMES = 48
        const val FRAME_MILLISECONDS = 33L
        const val BORDER = 6
    }
}
