package android.content

import android.net.Uri
import java.io.OutputStream

class ContentValues {
    fun put(key: String, value: String?) { TODO() }
}

class ContentResolver {
    fun insert(url: Uri, values: ContentValues?): Uri? = TODO()
    fun openOutputStream(uri: Uri): OutputStream? = TODO()
}

open class Context {
    val assets: android.content.res.AssetManager get() = TODO()
    val resources: android.content.res.Resources get() = TODO()
    val contentResolver: ContentResolver get() = TODO()
    fun getString(resId: Int, vararg formatArgs: Any): String = TODO()
}
