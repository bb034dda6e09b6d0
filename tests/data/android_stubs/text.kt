package android.text

object InputType {
    const val TYPE_CLASS_NUMBER = 2
}
