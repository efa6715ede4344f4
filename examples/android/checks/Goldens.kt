package samclip.checks

import java.io.File
import kotlin.math.abs
import kotlin.math.max
import kotlin.math.sqrt
import samclip.Json
import samclip.Mask
import samclip.RgbImage
import samclip.Safetensors
import samclip.Tensor

/** The stored answers of a bundle: `golden/index.json` and its tensors. */
internal class Goldens(folder: File) {
    private val index = Json.parse(File(folder, "golden/index.json").readText(), "golden/index.json")
    val tensors = Safetensors.read(File(folder, "golden/tensors.safetensors").readBytes(), "golden/tensors.safetensors")

    /** The entries of a part; a part without any would check nothing. */
    fun part(name: String): List<Json> = index[name].list.ifEmpty { error("golden/index.json has no $name") }

    /** The largest difference, as a share of the largest number that was expected. */
    fun worst(found: FloatArray, expected: Json): String {
        val (sampled, stored) = pair(found, expected)
        val worst = stored.indices.maxOf { abs(sampled[it] - stored[it]) } / stored.maxOf { abs(it) }
        val bound = expected["max_error"].number
        check(worst <= bound) { "differs by $worst, allowed is $bound" }
        return "%.1e of %.1e".format(worst, bound)
    }

    /** The cosine with what was expected. */
    fun cosine(found: FloatArray, expected: Json): String {
        val (sampled, stored) = pair(found, expected)
        fun product(a: FloatArray, b: FloatArray) = a.indices.sumOf { a[it].toDouble() * b[it] }
        val cosine = product(sampled, stored) / max(sqrt(product(sampled, sampled) * product(stored, stored)), 1e-12)
        check(cosine >= 0.99) { "has the cosine $cosine" }
        return "cosine %.4f".format(cosine)
    }

    /** The largest difference of levels, 0 to 255. */
    fun levels(found: ByteArray, expected: Json): String {
        val stored = tensors.bytes(expected["tensor"].text)
        val sampled = found.filterIndexed { place, _ -> place % expected["step"].int == 0 }
        check(sampled.size == stored.size) { "${sampled.size} values, expected ${stored.size}" }
        val worst = stored.indices.maxOf { abs((sampled[it].toInt() and 255) - (stored[it].toInt() and 255)) }
        check(worst <= 1) { "differs by $worst levels" }
        return "$worst levels"
    }

    /** The intersection over union of masks and stored bits, over the pixels of all of them. */
    fun iou(masks: List<Mask>, key: String): Double {
        val bits = tensors.bytes(key)
        var at = 0
        var both = 0
        var either = 0
        for (mask in masks) for (y in 0 until mask.height) for (x in 0 until mask.width) {
            val stored = bits[at / 8].toInt() shr (7 - at % 8) and 1 == 1
            if (stored && mask[x, y]) both++
            if (stored || mask[x, y]) either++
            at++
        }
        return if (either == 0) 1.0 else both.toDouble() / either
    }

    /** A stored image, or the one that is made by formula. */
    fun rgbImage(entry: Json): RgbImage {
        if (!entry["image"].isNull) return rgbImage(entry["image"].text)
        val (height, width) = entry["size"].list.map { it.int }
        return RgbImage(width, height, ByteArray(height * width * 3) { at ->
            val c = at % 3
            val x = at / 3 % width
            val y = at / 3 / width
            ((x * x / 97 + y * y / (61 + 30 * c) + 40 * c) % 256).toByte()
        })
    }

    fun rgbImage(key: String): RgbImage {
        val (height, width) = tensors.shape(key)
        return RgbImage(width, height, tensors.bytes(key))
    }

    /** A stored tensor as a graph takes it. */
    fun input(key: String): Tensor {
        val shape = tensors.shape(key).map { it.toLong() }.toLongArray()
        return when (tensors.type(key)) {
            "U8" -> Tensor.U8(tensors.bytes(key), *shape)
            "I32" -> Tensor.I32(tensors.ints(key), *shape)
            else -> Tensor.F32(tensors.floats(key), *shape)
        }
    }

    private fun pair(found: FloatArray, expected: Json): Pair<FloatArray, FloatArray> {
        val step = expected["step"].int
        val sampled = found.filterIndexed { place, _ -> place % step == 0 }.toFloatArray()
        val stored = tensors.floats(expected["tensor"].text)
        check(sampled.size == stored.size) { "${sampled.size} values, expected ${stored.size}" }
        return sampled to stored
    }
}
