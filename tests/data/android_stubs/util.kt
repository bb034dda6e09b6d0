package android.util

class DisplayMetrics {
    @JvmField var widthPixels: Int = 0
}

object Base64 {
    const val DEFAULT = 0
    fun decode(str: String, flags: Int): ByteArray = TODO()
}

object Half {
    fun toFloat(half: Short): Float = TODO()
}
