package org.json

class JSONException(message: String) : Exception(message)

class JSONObject(text: String) {
    fun getString(name: String): String = TODO()
    fun getInt(name: String): Int = TODO()
    fun optInt(name: String): Int = TODO()
    fun getJSONArray(name: String): JSONArray = TODO()
    fun getJSONObject(name: String): JSONObject = TODO()
    fun optJSONObject(name: String): JSONObject? = TODO()
}

class JSONArray {
    fun length(): Int = TODO()
    fun getInt(index: Int): Int = TODO()
    fun getDouble(index: Int): Double = TODO()
    fun getString(index: Int): String = TODO()
    fun getJSONObject(index: Int): JSONObject = TODO()
}
