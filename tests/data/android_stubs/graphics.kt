package android.graphics

import java.io.OutputStream

class Bitmap {
    enum class Config { ARGB_8888 }
    enum class CompressFormat { PNG }

    val width: Int get() = TODO()
    val height: Int get() = TODO()
    fun compress(format: CompressFormat, quality: Int, stream: OutputStream): Boolean = TODO()

    companion object {
        fun createBitmap(width: Int, height: Int, config: Config): Bitmap = TODO()
        fun createBitmap(colors: IntArray, width: Int, height: Int, config: Config): Bitmap = TODO()
    }
}

class Paint

class Canvas(bitmap: Bitmap) {
    fun drawBitmap(bitmap: Bitmap, left: Float, top: Float, paint: Paint?) { TODO() }
}

object Color {
    const val BLUE = 1
    const val RED = 2
    const val TRANSPARENT = 0
}
