package samclip.onnxruntime

import ai.onnxruntime.OnnxJavaType
import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtException
import ai.onnxruntime.OrtSession
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.FloatBuffer
import java.nio.IntBuffer
import samclip.Backend
import samclip.Graph
import samclip.GraphSpec
import samclip.SamClipException
import samclip.Tensor

/** onnxruntime on the CPU, without its telemetry; [threads] is how many cores a graph may use. */
class OrtBackend(private val threads: Int = 4) : Backend {
    private val environment = OrtEnvironment.getEnvironment().apply { setTelemetry(false) }

    override fun open(file: File, spec: GraphSpec): Graph = naming(file.name) {
        OrtSession.SessionOptions().use { options ->
            options.setIntraOpNumThreads(threads)
            OrtGraph(file.name, environment, environment.createSession(file.path, options))
        }
    }
}

private class OrtGraph(
    private val name: String,
    private val environment: OrtEnvironment,
    private val session: OrtSession,
) : Graph {
    override fun run(inputs: Map<String, Tensor>, outputs: List<String>): Map<String, Tensor> = naming(name) {
        val given = inputs.mapValues { (_, tensor) -> toOrt(tensor) }
        try {
            session.run(given, outputs.toSet()).use { found ->
                outputs.associateWith { fromOrt(found[it].get() as OnnxTensor) }
            }
        } finally {
            given.values.forEach { it.close() }
        }
    }

    override fun close() = session.close()

    private fun toOrt(tensor: Tensor): OnnxTensor = when (tensor) {
        is Tensor.F32 -> OnnxTensor.createTensor(environment, FloatBuffer.wrap(tensor.data), tensor.shape)
        is Tensor.I32 -> OnnxTensor.createTensor(environment, IntBuffer.wrap(tensor.data), tensor.shape)
        is Tensor.U8 -> {
            val bytes = ByteBuffer.allocateDirect(tensor.data.size).order(ByteOrder.nativeOrder())
            bytes.duplicate().put(tensor.data)
            OnnxTensor.createTensor(environment, bytes, tensor.shape, OnnxJavaType.UINT8)
        }
    }

    private fun fromOrt(tensor: OnnxTensor): Tensor {
        val shape = tensor.info.shape
        if (tensor.info.type == OnnxJavaType.UINT8) {
            val bytes = tensor.byteBuffer
            return Tensor.U8(ByteArray(bytes.remaining()).also { bytes.get(it) }, *shape)
        }
        val floats = tensor.floatBuffer
        return Tensor.F32(FloatArray(floats.remaining()).also { floats.get(it) }, *shape)
    }
}

/** Says which graph onnxruntime failed on. */
private inline fun <T> naming(graph: String, block: () -> T): T =
    try {
        block()
    } catch (error: OrtException) {
        throw SamClipException("onnxruntime fails on $graph: ${error.message}", error)
    }
