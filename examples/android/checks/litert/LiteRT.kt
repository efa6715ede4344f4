/*
 * What samclip-litert calls of com.google.ai.edge.litert, written by hand after Google's sources of 2.2: there is no
 * Maven here. Below it is not Google's native code but LiteRT's C library, through litert.c.
 */
package com.google.ai.edge.litert

enum class Accelerator(val value: Int) { NONE(0), CPU(1), GPU(2), NPU(3) }

class LiteRtException(message: String) : Exception(message)

class TensorBuffer internal constructor(internal val handle: Long) : AutoCloseable {
    fun writeInt(data: IntArray) = Native.write(handle, data)

    fun writeFloat(data: FloatArray) = Native.write(handle, data)

    fun writeInt8(data: ByteArray) = Native.write(handle, data)

    fun readFloat(): FloatArray = Native.read(handle)

    override fun close() = Native.closeBuffer(handle)
}

class CompiledModel private constructor(private val handle: Long) : AutoCloseable {
    data class CpuOptions(
        val numThreads: Int? = null,
        val xnnPackFlags: Int? = null,
        val xnnPackWeightCachePath: String? = null,
    )

    class Options(internal val accelerators: Set<Accelerator>) {
        constructor(vararg accelerators: Accelerator) : this(setOf(*accelerators))

        var cpuOptions: CpuOptions? = null
    }

    fun createInputBuffer(inputName: String, signature: String = ""): TensorBuffer =
        TensorBuffer(Native.buffer(handle, signature, inputName, input = true))

    fun createOutputBuffer(outputName: String, signature: String = ""): TensorBuffer =
        TensorBuffer(Native.buffer(handle, signature, outputName, input = false))

    fun run(inputs: Map<String, TensorBuffer>, outputs: Map<String, TensorBuffer>, signature: String = "") = Native.run(
        handle, signature,
        inputs.keys.toTypedArray(), inputs.values.map { it.handle }.toLongArray(),
        outputs.keys.toTypedArray(), outputs.values.map { it.handle }.toLongArray(),
    )

    override fun close() = Native.close(handle)

    companion object {
        fun create(filePath: String, options: Options): CompiledModel {
            check(options.accelerators == setOf(Accelerator.CPU)) { "the checks run on the CPU" }
            return CompiledModel(Native.open(filePath, checkNotNull(options.cpuOptions?.numThreads)))
        }
    }
}

private object Native {
    init {
        System.load(System.getProperty("samclip.litert"))
    }

    @JvmStatic
    external fun open(path: String, threads: Int): Long

    @JvmStatic
    external fun buffer(model: Long, signature: String, name: String, input: Boolean): Long

    /** [data] is an array of numbers. */
    @JvmStatic
    external fun write(buffer: Long, data: Any)

    @JvmStatic
    external fun read(buffer: Long): FloatArray

    @JvmStatic
    external fun run(
        model: Long,
        signature: String,
        inputNames: Array<String>,
        inputs: LongArray,
        outputNames: Array<String>,
        outputs: LongArray,
    )

    @JvmStatic
    external fun closeBuffer(buffer: Long)

    @JvmStatic
    external fun close(model: Long)
}
