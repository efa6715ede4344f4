package samclip.litert

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.channels.FileChannel
import samclip.BundleException
import samclip.GraphSpec

/** A signature of a .tflite file: a bucket of its graph, with the length of each named axis. */
internal class Signature(val name: String, val lengths: Map<String, Long>)

/**
 * The signatures of a file. `com.google.ai.edge.litert` does not tell them.
 *
 * The export names each by its lengths, such as "num_points_16.num_prompts_8", see `export/litert/to_litert.py`.
 */
internal fun readSignatures(file: File, spec: GraphSpec): List<Signature> {
    val axes = spec.inputs.flatMap { it.axes }.mapNotNull { it.name }.toSet()
    return signatureNames(file).map { name ->
        val parts = if (axes.isEmpty()) emptyList() else name.split(".")
        val lengths = parts.associate { it.substringBeforeLast("_") to it.substringAfterLast("_").toLongOrNull() }
        if (lengths.keys != axes || lengths.values.any { it == null || it < 1 }) {
            throw BundleException("${file.name} has the signature \"$name\": it was made by another exporter")
        }
        Signature(name, lengths.mapValues { checkNotNull(it.value) })
    }
}

private fun signatureNames(file: File): List<String> {
    val bytes = file.inputStream().channel.use { it.map(FileChannel.MapMode.READ_ONLY, 0, it.size()) }
    val names = try {
        val root = Table(bytes.order(ByteOrder.LITTLE_ENDIAN), bytes.getInt(0))
        root.tables(SIGNATURES).map { it.text(SIGNATURE_KEY) }
    } catch (error: IndexOutOfBoundsException) {
        throw BundleException("${file.name} is no .tflite file: export the bundle again", error)
    }
    return names.ifEmpty { throw BundleException("${file.name} has no signature: it was made by another exporter") }
}

private const val SIGNATURES = 7 // of the table Model in TensorFlow Lite's schema
private const val SIGNATURE_KEY = 2 // of the table SignatureDef

/** A table of a FlatBuffer, at a place in its bytes. */
private class Table(private val bytes: ByteBuffer, private val at: Int) {
    fun tables(field: Int): List<Table> {
        val start = target(field) ?: return emptyList()
        return List(length(start)) { Table(bytes, follow(start + 4 + 4 * it)) }
    }

    fun text(field: Int): String {
        val start = target(field) ?: return ""
        return ByteArray(length(start)) { bytes.get(start + 4 + it) }.decodeToString()
    }

    /** Where the content of a field is; null if the table has no such field. */
    private fun target(field: Int): Int? {
        val fields = at - bytes.getInt(at)
        val entry = 4 + 2 * field
        val offset = if (entry < bytes.getShort(fields)) bytes.getShort(fields + entry).toInt() else 0
        return if (offset == 0) null else follow(at + offset)
    }

    private fun follow(place: Int) = place + bytes.getInt(place)

    private fun length(place: Int): Int {
        val length = bytes.getInt(place)
        if (length !in 0..bytes.limit()) throw IndexOutOfBoundsException("$length items")
        return length
    }
}
