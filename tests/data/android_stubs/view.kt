package android.view

import android.content.Context

open class View(context: Context) {
    var contentDescription: CharSequence? = null
    var isFocusable = false
    var isSelected = false
    var isEnabled = true
    fun setPadding(left: Int, top: Int, right: Int, bottom: Int) { TODO() }
    fun setOnClickListener(l: (View) -> Unit) { TODO() }
    fun setBackgroundColor(color: Int) { TODO() }
}

open class ViewGroup(context: Context) : View(context) {
    fun addView(child: View) { TODO() }
    fun addView(child: View, width: Int, height: Int) { TODO() }
    fun removeAllViews() { TODO() }
}

class KeyEvent
