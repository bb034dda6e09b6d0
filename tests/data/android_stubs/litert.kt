// LiteRT 2.3.0's published Kotlin interface, as far as the app uses it: enough to check calls and types.
package com.google.ai.edge.litert

import android.content.res.AssetManager

class LiteRtException(message: String) : Exception(message)

enum class Accelerator { NONE, CPU, GPU, NPU }

class Environment

class TensorBuffer : AutoCloseable {
    fun writeInt(data: IntArray) { TODO() }
    fun writeFloat(data: FloatArray) { TODO() }
    fun readFloat(): FloatArray = TODO()
    override fun close() { TODO() }
}

class CompiledModel : AutoCloseable {
    class Options(vararg accelerators: Accelerator)

    fun createInputBuffer(inputName: String, signature: String? = null): TensorBuffer = TODO()
    fun createOutputBuffer(outputName: String, signature: String? = null): TensorBuffer = TODO()
    fun run(inputs: Map<String, TensorBuffer>, outputs: Map<String, TensorBuffer>, signature: String? = null) { TODO() }
    override fun close() { TODO() }

    companion object {
        fun create(
            assetManager: AssetManager,
            assetName: String,
            options: Options = TODO(),
            optionalEnv: Environment? = null,
        ): CompiledModel = TODO()
    }
}
