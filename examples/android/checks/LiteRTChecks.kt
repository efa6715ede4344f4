package samclip.checks

import java.io.File
import kotlin.math.abs
import openOnLiteRT
import samclip.Axis
import samclip.Bundle
import samclip.BundleException
import samclip.GraphSpec
import samclip.Point
import samclip.Prompt
import samclip.PromptException
import samclip.TensorSpec
import samclip.litert.LiteRTBackend

/** A .tflite file of one number through a ReLU, with the signature "main". */
private const val IDENTITY =
    "1c00000054464c3314001800140010000c0000000800000000000400140000001400000084000000900000004401" +
        "000003000000010000001000000000000a0010000c00080004000a0000000c000000140000003400000004000000" +
        "6d61696e00000000010000000c00000008000c000800040008000000010000000400000001000000790000000100" +
        "00000c00000000000600080004000600000004000000010000007800000001000000080000000400040004000000" +
        "01000000100000000c00140010000c00080004000c000000100000003c0000004000000044000000010000001000" +
        "000000000a000c000000080004000a000000080000000c0000000100000001000000010000000000000001000000" +
        "010000000100000000000000020000003000000004000000e4ffffff080000000c00000001000000790000000100" +
        "0000010000000c000c0008000000000004000c000000080000000c00000001000000780000000100000001000000" +
        "01000000100000000c000c000b000000000004000c0000001300000000000013"

/** Files that LiteRT's adapter refuses before LiteRT sees them. */
internal fun fileChecks(checks: Checks) {
    val content = IDENTITY.chunked(2).map { it.toInt(16).toByte() }.toByteArray()
    fun spec(type: String, axis: Axis): GraphSpec {
        val tensor = TensorSpec("x", type, listOf(axis))
        return GraphSpec(listOf(tensor), listOf(tensor))
    }
    fun open(bytes: ByteArray, spec: GraphSpec) {
        val file = File.createTempFile("samclip", ".tflite")
        try {
            file.writeBytes(bytes)
            LiteRTBackend().open(file, spec).close()
        } finally {
            file.delete()
        }
    }
    val fixed = spec("float32", Axis(null, 1))
    checks.refuses<BundleException>("a .tflite file of text", "no .tflite file") {
        open("not a model".repeat(9).toByteArray(), fixed)
    }
    checks.check("refuses a .tflite file cut before its signature") {
        for (length in 0..IDENTITY.indexOf("6d61696e") / 2) {
            val error = runCatching { open(content.copyOf(length), fixed) }.exceptionOrNull()
            check(error is BundleException) { "cut after $length bytes: $error" }
        }
    }
    checks.refuses<BundleException>("a signature without the lengths of the graph", "\"main\"", "another exporter") {
        open(content, spec("float32", Axis("num_texts")))
    }
    checks.refuses<BundleException>("an output of another type", "x of int32", "reads float32") {
        open(content, spec("int32", Axis(null, 1)))
    }
}

/** LiteRT's adapter on a bundle of LiteRT files, in each precision that it has. */
internal fun litertChecks(folder: File, checks: Checks) {
    println("on LiteRT, with $folder:")
    val goldens = GoldenChecks(folder, LiteRTBackend(threads = 1), checks)
    val artifacts = Bundle(folder).manifest.graphs.values.flatMap { it.artifacts }
    goldens.run(lower = artifacts.filter { it.runtime == "litert" }.map { it.precision }.distinct() - "fp32")
    openOnLiteRT(folder).use { model ->
        val rgbImage = Goldens(folder).rgbImage("picture")
        val image = model.encode(rgbImage)
        val prompts = List(20) { Prompt(listOf(Point(it % 9f, it % 7f), Point(30f, 3f + it))) }
        checks.check("an answer does not depend on the bucket") {
            val together = model.segment(image, prompts)
            for ((prompt, among) in prompts.zip(together)) {
                val alone = model.segment(image, listOf(prompt)).single()
                val largest = alone.lowResolution.maxOf { abs(it) }
                val apart = alone.lowResolution.zip(among.lowResolution) { a, b -> abs(a - b) }.max()
                check(apart <= 1e-4 * largest) { "its logits differ by $apart of $largest" }
            }
        }
        checks.check("a label does not depend on those beside it") {
            val labels = listOf("dog", "a wheel", "sky")
            model.segmentText(image, labels).joinToString { among ->
                val alone = model.segmentText(image, listOf(among.label)).single()
                check(abs(alone.score - among.score) < 1e-3) { "${alone.label}: scores ${alone.score}, ${among.score}" }
                check(alone.mask.area == among.mask.area) { "${alone.label}: ${alone.mask.area}, ${among.mask.area}" }
                "%s %.3f".format(alone.label, alone.score)
            }
        }
        checks.refuses<PromptException>("more points than LiteRT's graphs take", "num_points is 18", "at most 16") {
            model.segment(image, listOf(Prompt(List(17) { Point(it.toFloat(), 3f) })))
        }
    }
}
