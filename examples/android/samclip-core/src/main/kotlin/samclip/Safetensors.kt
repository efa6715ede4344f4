package samclip

import java.nio.ByteBuffer
import java.nio.ByteOrder

/** A safetensors file: named arrays, and texts by name. */
internal class Safetensors private constructor(
    private val name: String,
    val metadata: Map<String, String>,
    private val entries: Map<String, Entry>,
    private val content: ByteArray,
) {
    private class Entry(val type: String, val shape: List<Int>, val begin: Int, val size: Int)

    fun shape(key: String): List<Int> = entry(key).shape

    fun type(key: String): String = entry(key).type

    /** An array as float32; F32, F16, I8 and U8 are widened. */
    fun floats(key: String): FloatArray {
        val bytes = slice(key)
        return when (type(key)) {
            "F32" -> FloatArray(bytes.remaining() / 4) { bytes.getFloat() }
            "F16" -> FloatArray(bytes.remaining() / 2) { halfToFloat(bytes.getShort().toInt()) }
            "I8" -> FloatArray(bytes.remaining()) { bytes.get().toFloat() }
            "U8" -> FloatArray(bytes.remaining()) { (bytes.get().toInt() and 255).toFloat() }
            else -> throw BundleException("$key in $name is ${type(key)}, which are no numbers for floats")
        }
    }

    fun ints(key: String): IntArray {
        if (type(key) != "I32") throw BundleException("$key in $name is ${type(key)}, not I32")
        val bytes = slice(key)
        return IntArray(bytes.remaining() / 4) { bytes.getInt() }
    }

    fun bytes(key: String): ByteArray {
        if (type(key) != "U8") throw BundleException("$key in $name is ${type(key)}, not U8")
        val bytes = slice(key)
        return ByteArray(bytes.remaining()).also(bytes::get)
    }

    private fun entry(key: String): Entry =
        entries[key] ?: throw BundleException("$name holds no tensor $key")

    private fun slice(key: String): ByteBuffer {
        val entry = entry(key)
        return ByteBuffer.wrap(content, entry.begin, entry.size).order(ByteOrder.LITTLE_ENDIAN)
    }

    companion object {
        private val SIZES = mapOf("F32" to 4, "F16" to 2, "I32" to 4, "I8" to 1, "U8" to 1)

        /** Reads the content of a file; [name] stands for it in messages. */
        fun read(content: ByteArray, name: String): Safetensors {
            fun check(right: Boolean, problem: String) {
                if (!right) throw BundleException("$name is not a safetensors file: $problem")
            }
            check(content.size >= 8, "it has ${content.size} bytes")
            val length = ByteBuffer.wrap(content).order(ByteOrder.LITTLE_ENDIAN).getLong()
            check(length in 2L..content.size - 8L, "its header would have $length bytes")
            val end = 8 + length.toInt()
            val header = Json.parse(String(content, 8, end - 8, Charsets.UTF_8), name)
            val entries = header.fields.filterKeys { it != "__metadata__" }.mapValues { (key, field) ->
                val offsets = field["data_offsets"].list.map { it.int }
                check(offsets.size == 2, "$key has ${offsets.size} offsets")
                val (first, last) = offsets
                check(first in 0..last && last <= content.size - end, "$key lies outside of it")
                val entry = Entry(field["dtype"].text, field["shape"].list.map { it.int }, end + first, last - first)
                val count = entry.shape.fold(1L) { size, side -> size * side }
                SIZES[entry.type]?.let { check(entry.size.toLong() == it * count, "$key has another size") }
                entry
            }
            val metadata = header.find("__metadata__")?.fields.orEmpty().mapValues { it.value.text }
            return Safetensors(name, metadata, entries, content)
        }
    }
}

/** The value of an IEEE half-precision number. */
internal fun halfToFloat(bits: Int): Float {
    val sign = if (bits and 0x8000 != 0) -1f else 1f
    val exponent = bits shr 10 and 31
    val fraction = bits and 1023
    return sign * when (exponent) {
        0 -> Math.scalb(fraction.toFloat(), -24)
        31 -> if (fraction == 0) Float.POSITIVE_INFINITY else Float.NaN
        else -> Math.scalb(1f + fraction / 1024f, exponent - 15)
    }
}
