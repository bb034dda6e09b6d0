package android.widget

import android.content.Context
import android.graphics.Bitmap
import android.view.KeyEvent
import android.view.View
import android.view.ViewGroup

open class TextView(context: Context) : View(context) {
    var text: CharSequence? = null
    var inputType = 0
    fun setText(resid: Int) { TODO() }
    @JvmName("setTextTo") fun setText(text: CharSequence) { TODO() }
    fun setOnEditorActionListener(l: (TextView, Int, KeyEvent?) -> Boolean) { TODO() }
}

class EditText(context: Context) : TextView(context)
class Button(context: Context) : TextView(context)

class ImageView(context: Context) : View(context) {
    enum class ScaleType { FIT_CENTER }

    var scaleType: ScaleType? = null
    fun setImageBitmap(bm: Bitmap?) { TODO() }
}

class GridLayout(context: Context) : ViewGroup(context) {
    var columnCount = 1
}

class LinearLayout(context: Context) : ViewGroup(context) {
    var orientation = 0

    companion object {
        const val VERTICAL = 1
    }
}

class ScrollView(context: Context) : ViewGroup(context)

class SeekBar(context: Context) : View(context) {
    interface OnSeekBarChangeListener {
        fun onProgressChanged(bar: SeekBar, value: Int, fromUser: Boolean)
        fun onStartTrackingTouch(bar: SeekBar)
        fun onStopTrackingTouch(bar: SeekBar)
    }

    var max = 100
    var progress = 0
    fun setOnSeekBarChangeListener(l: OnSeekBarChangeListener) { TODO() }
}

interface Adapter
class ArrayAdapter<T>(context: Context, resource: Int, objects: List<T>) : Adapter

abstract class AdapterView<T : Adapter>(context: Context) : ViewGroup(context) {
    interface OnItemSelectedListener {
        fun onItemSelected(parent: AdapterView<*>?, view: View?, position: Int, id: Long)
        fun onNothingSelected(parent: AdapterView<*>?)
    }

    var adapter: T? = null
    var onItemSelectedListener: OnItemSelectedListener? = null
}

class Spinner(context: Context) : AdapterView<Adapter>(context)

class Toast {
    fun show() { TODO() }

    companion object {
        const val LENGTH_SHORT = 0
        fun makeText(context: Context, text: CharSequence, duration: Int): Toast = TODO()
    }
}
