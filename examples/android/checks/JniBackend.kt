package samclip.checks

import java.io.File
import samclip.Backend
import samclip.Graph
import samclip.GraphSpec
import samclip.Tensor

/** onnxruntime's C library, through shim.c. */
internal object JniBackend : Backend {
    override fun open(file: File, spec: GraphSpec): Graph = JniGraph(file)
}

private class JniGraph(file: File) : Graph {
    private val session = open(file.path)

    override fun run(inputs: Map<String, Tensor>, outputs: List<String>): Map<String, Tensor> {
        val given = inputs.values
        val arrays = given.map { tensor ->
            when (tensor) {
                is Tensor.F32 -> tensor.data
                is Tensor.U8 -> tensor.data
                is Tensor.I32 -> tensor.data
            }
        }
        val shapes = arrayOfNulls<LongArray>(outputs.size)
        val found = run(
            session, inputs.keys.toTypedArray(), arrays.toTypedArray(), given.map { it.shape }.toTypedArray(),
            outputs.toTypedArray(), shapes,
        )
        return outputs.indices.associate { place ->
            val shape = checkNotNull(shapes[place])
            val tensor = when (val array = found[place]) {
                is FloatArray -> Tensor.F32(array, *shape)
                is ByteArray -> Tensor.U8(array, *shape)
                else -> error("${outputs[place]} is neither float32 nor uint8")
            }
            outputs[place] to tensor
        }
    }

    override fun close() = close(session)

    private companion object {
        init {
            System.load(System.getProperty("samclip.shim"))
        }

        @JvmStatic
        external fun open(path: String): Long

        @JvmStatic
        external fun close(session: Long)

        @JvmStatic
        external fun run(
            session: Long,
            names: Array<String>,
            arrays: Array<Any>,
            shapes: Array<LongArray>,
            outputs: Array<String>,
            outputShapes: Array<LongArray?>,
        ): Array<Any>
    }
}
