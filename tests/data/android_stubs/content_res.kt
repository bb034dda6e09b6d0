package android.content.res

import android.util.DisplayMetrics
import java.io.InputStream

class AssetManager {
    fun open(fileName: String): InputStream = TODO()
}

class Resources {
    val displayMetrics: DisplayMetrics get() = TODO()
}
