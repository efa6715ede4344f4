package samclip.litert

import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import com.google.ai.edge.litert.LiteRtException
import com.google.ai.edge.litert.TensorBuffer
import java.io.File
import samclip.Backend
import samclip.Buckets
import samclip.BundleException
import samclip.Graph
import samclip.GraphSpec
import samclip.SamClipException
import samclip.Tensor

/** LiteRT on the CPU, by XNNPACK; [threads] is how many cores a graph may use. */
class LiteRTBackend(private val threads: Int = 4) : Backend {
    override val runtime: String get() = "litert"

    override fun open(file: File, spec: GraphSpec): Graph {
        spec.outputs.find { it.type != "float32" }?.let {
            throw BundleException("${file.name} has the output ${it.name} of ${it.type}; LiteRTBackend reads float32")
        }
        val signatures = readSignatures(file, spec)
        val options = CompiledModel.Options(Accelerator.CPU)
        options.cpuOptions = CompiledModel.CpuOptions(numThreads = threads)
        return LiteRTGraph(file.name, spec, signatures, naming(file.name) { CompiledModel.create(file.path, options) })
    }
}

private class LiteRTGraph(
    private val name: String,
    private val spec: GraphSpec,
    private val signatures: List<Signature>,
    private val model: CompiledModel,
) : Graph {
    private val buckets = Buckets(spec, signatures.map { it.lengths })

    /** Runs of several threads take turns, because LiteRT requires it. */
    @Synchronized
    override fun run(inputs: Map<String, Tensor>, outputs: List<String>): Map<String, Tensor> =
        buckets.run(inputs) { bucket, feed -> naming(name) { call(signatures[bucket], feed) } }

    @Synchronized
    override fun close() = model.close()

    private fun call(signature: Signature, feed: Map<String, Tensor>): Map<String, Tensor> {
        val buffers = ArrayList<TensorBuffer>()
        try {
            val given = feed.mapValues { (input, tensor) ->
                model.createInputBuffer(input, signature.name).also(buffers::add).apply { write(tensor) }
            }
            val found = spec.outputs.associate {
                it.name to model.createOutputBuffer(it.name, signature.name).also(buffers::add)
            }
            model.run(given, found, signature.name)
            return spec.outputs.associate {
                it.name to Tensor.F32(found.getValue(it.name).readFloat(), *it.shape(signature.lengths))
            }
        } finally {
            buffers.forEach { it.close() }
        }
    }

    private fun TensorBuffer.write(tensor: Tensor) = when (tensor) {
        is Tensor.F32 -> writeFloat(tensor.data)
        is Tensor.I32 -> writeInt(tensor.data)
        is Tensor.U8 -> writeInt8(tensor.data)
    }
}

/** Says which graph LiteRT failed on. */
private inline fun <T> naming(graph: String, block: () -> T): T =
    try {
        block()
    } catch (error: LiteRtException) {
        throw SamClipException("LiteRT fails on $graph: ${error.message}", error)
    }
