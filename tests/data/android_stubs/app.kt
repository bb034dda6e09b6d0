package android.app

import android.content.Context
import android.os.Bundle
import android.view.View

open class Activity : Context() {
    var title: CharSequence? = null
    protected open fun onCreate(savedInstanceState: Bundle?) { TODO() }
    protected open fun onDestroy() { TODO() }
    fun setContentView(view: View) { TODO() }
}
