package android.os

class Bundle

class Looper {
    companion object {
        fun getMainLooper(): Looper = TODO()
    }
}

class Handler(looper: Looper) {
    fun post(r: () -> Unit): Boolean = TODO()
}

object Build {
    object VERSION { val SDK_INT: Int get() = TODO() }
    object VERSION_CODES { const val Q = 29 }
}

object Environment {
    val DIRECTORY_IMAGES: String get() = TODO()
}
