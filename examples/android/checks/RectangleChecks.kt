package samclip.checks

import java.io.File
import samclip.Backend
import samclip.Bundle
import samclip.EmbeddingMismatchException
import samclip.Frame
import samclip.Graph
import samclip.GraphSpec
import samclip.RgbImage
import samclip.SamClip
import samclip.Sides
import samclip.Tensor
import samclip.coveredPixels
import samclip.sides
import samclip.upperLeft
import samclip.wholeMasks
import samclip.wholePatches

/** onnxruntime, which notes what the image encoder is given. */
private class Noting(override val runtime: String) : Backend {
    var seen: Sides? = null

    override fun open(file: File, spec: GraphSpec): Graph {
        val graph = JniBackend.open(file, spec)
        return object : Graph by graph {
            override fun run(inputs: Map<String, Tensor>, outputs: List<String>): Map<String, Tensor> {
                inputs["image"]?.let { seen = it.sides }
                return graph.run(inputs, outputs)
            }
        }
    }
}

/** Images without their padding, and that graphs which need it have it. */
internal fun rectangleChecks(folder: File, checks: Checks) {
    for ((rgbImage, pixels) in mapOf(
        Frame(400, 600, 512) to Sides(512, 352),
        Frame(900, 400, 512) to Sides(256, 512),
        Frame(50, 50, 512) to Sides(512, 512),
        Frame(1, 1, 288) to Sides(288, 288),
        Frame(2000, 1, 288) to Sides(32, 288),
    )) checks.check("whole steps hold an image of ${rgbImage.width} x ${rgbImage.height}") {
        check(coveredPixels(rgbImage) == pixels) { "${coveredPixels(rgbImage)}" }
    }
    checks.check("the upper left of each map is kept, and a whole one is not copied") {
        val maps = Tensor.U8(ByteArray(18) { it.toByte() }, 1, 2, 3, 3)
        val kept = upperLeft(maps, Sides(2, 1)) as Tensor.U8
        check(kept.data.toList() == listOf<Byte>(0, 3, 9, 12)) { "${kept.data.toList()}" }
        check(kept.shape.toList() == listOf<Long>(1, 2, 2, 1)) { "${kept.shape.toList()}" }
        check(upperLeft(maps, Sides(3, 3)) === maps)
    }
    checks.check("what is restored lies where it was") {
        val patches = List(2) { floatArrayOf(2f * it + 1, 2f * it + 2) }
        val whole = wholePatches(patches, Sides(1, 2), grid = 2).flatMap { it.asList() }
        check(whole == listOf(1f, 2f, 3f, 4f, 0f, 0f, 0f, 0f)) { "$whole" }
        for ((shape, side, expected) in listOf(
            Triple(Sides(1, 2), 3, listOf(1f, 2f, 2f, 1f, 2f, 2f, 1f, 2f, 2f)),
            Triple(Sides(2, 1), 2, listOf(1f, 1f, 2f, 2f)),
        )) {
            val mask = Tensor.F32(floatArrayOf(1f, 2f), 1, shape.rows.toLong(), shape.columns.toLong())
            val found = wholeMasks(mask, side).data.asList()
            check(found == expected) { "$found" }
        }
    }
    val manifest = File(folder, "manifest.json").readText()
    val own = Bundle(folder).manifest
    val square = Sides(own.segmentation, own.segmentation)
    val covered = if (own.convolutional) coveredPixels(Frame(90, 40, own.segmentation)) else square
    val rgbImage = RgbImage(90, 40, ByteArray(90 * 40 * 3))
    fun sees(name: String, model: SamClip, backend: Noting, expected: Sides) =
        checks.check("what the image encoder sees $name") {
            model.encode(rgbImage)
            check(backend.seen == expected) { "${backend.seen}" }
            "${backend.seen}"
        }
    val other = linkedCopy(folder, "manifest.json", manifest.replace("\"pyramid\"", "\"tiny_vit\""))
    Noting("onnx").let { backend ->
        SamClip.load(other, backend).use { sees("of another model", it, backend, square) }
    }
    val fp16 = Regex("\"onnx\"(,\\s*\"precision\": ?\"fp16\")")
    val both = linkedCopy(folder, "manifest.json", manifest.replace(fp16, "\"other\"$1"))
    val (backend, fixed) = listOf(Noting("onnx"), Noting("other"))
    SamClip.load(both, backend).use { model ->
        sees("on onnxruntime", model, backend, covered)
        SamClip.load(both, fixed, "fp16").use {
            sees("on another runtime", it, fixed, square)
            if (own.convolutional) checks.refuses<EmbeddingMismatchException>("a rectangle there", "encode it again") {
                it.scoreMaps(model.encode(rgbImage), listOf("dog"))
            }
        }
    }
}
