package samclip.checks

import java.io.File
import kotlin.math.abs
import samclip.Backend
import samclip.Box
import samclip.Bundle
import samclip.Frame
import samclip.Json
import samclip.Letterbox
import samclip.Mask
import samclip.Point
import samclip.Prompt
import samclip.SamClip
import samclip.ScoreMap
import samclip.Tensor
import samclip.Tokenizer
import samclip.cleanText
import samclip.floats

/** Every step that a bundle stores an answer of, each on its own, on a runtime. */
internal class GoldenChecks(private val folder: File, private val backend: Backend, private val checks: Checks) {
    private val goldens = Goldens(folder)
    private val model = SamClip.load(folder, backend)
    private val manifest = File(folder, "manifest.json").readText()
    private val randomWeights = Json.parse(manifest, "manifest.json")["random_weights"].flag

    /** Runs all; [lower] are the precisions below fp32 that the bundle has. */
    fun run(lower: List<String>) {
        texts()
        letterbox()
        segment()
        masksByDefault()
        imageEmbeddings()
        classEmbeddings()
        scoreMaps()
        masks()
        graphs(model, goldens::worst, "fp32")
        textToMask(model, "fp32", presence = 1e-3, iou = 0.99)
        model.close()
        for (precision in lower) SamClip.load(folder, backend, precision).use {
            graphs(it, goldens::cosine, precision)
            val half = precision == "fp16"
            textToMask(it, precision, presence = if (half) 0.02 else 0.1, iou = if (half) 0.95 else 0.9)
        }
    }

    /** The whole way without the graph that does it all. */
    fun textToMaskByParts() = SamClip.load(withoutTextToMask(), backend).use {
        textToMask(it, "fp32, by parts", presence = 1e-3, iou = 0.99)
    }

    private fun withoutTextToMask(): File =
        linkedCopy(folder, "manifest.json", manifest.replace("\"text_to_mask@", "\"other@"))

    private fun texts() {
        val tokenizer = Tokenizer(Bundle(folder).read("tokenizer.json"))
        eachOf("texts") { each ->
            val text = each["text"].text
            val cleaned = cleanText(text)
            check(cleaned == each["cleaned"].text) { "\"$text\" is cleaned to \"$cleaned\"" }
            val ids = tokenizer.ids(text).toList()
            check(ids == each["input_ids"].list.map { it.int }) { "\"$text\" has the ids $ids" }
            "${ids.size} ids"
        }
    }

    private fun letterbox() = eachOf("letterbox") { each ->
        val rgbImage = goldens.rgbImage(each)
        val frame = Frame(rgbImage.width, rgbImage.height, each["resolution"].int)
        val extent = listOf(frame.rows, frame.columns)
        check(extent == each["extent"].list.map { it.int }) { "extent $extent" }
        val own = goldens.levels(Letterbox.square(rgbImage, frame, model.manifest.padColour), each["output"])
        val graph = goldens.levels((model.square(rgbImage, frame) as Tensor.U8).data, each["output"])
        "own $own, graph $graph"
    }

    private fun graphs(opened: SamClip, compare: (FloatArray, Json) -> String, precision: String) {
        eachOf("graphs", " $precision") { each ->
            val name = each["graph"].text
            val inputs = each["inputs"].fields.mapValues { goldens.input(it.value.text) }
            val outputs = each["outputs"].fields
            val found = opened.run(name, inputs, *outputs.keys.toTypedArray())
            outputs.entries.joinToString(prefix = "$name: ") { (output, expected) ->
                "$output ${compare(found.floats(output).data, expected)}"
            }
        }
    }

    private fun segment() = eachOf("segment") { each ->
        val points = each["points"].list.zip(each["labels"].list) { point, label ->
            val (x, y) = point.list.map { it.number.toFloat() }
            Point(x, y, foreground = label.int == 1)
        }
        val box = each["box"].takeUnless { it.isNull }?.list?.map { it.number.toFloat() }
        val prompt = Prompt(points, box?.let { Box(it[0], it[1], it[2], it[3]) })
        val image = model.encode(goldens.rgbImage(each["image"].text))
        val found = model.decode(image, listOf(prompt))
        val masks = goldens.worst(found.floats("low_res_masks").data, each["low_res_masks"])
        val scores = goldens.worst(found.floats("iou_predictions").data, each["iou_predictions"])
        // A longer prompt beside it must not change the answer: what evens them out takes no part.
        val longer = Prompt(List(4) { Point(1f + it, 1f) })
        val beside = model.segment(image, listOf(prompt, longer), multimask = true).take(3)
        val alone = model.segment(image, listOf(prompt), multimask = true)
        val apart = alone.zip(beside) { a, b -> abs(a.score - b.score) }.max()
        check(apart < 1e-3) { "a longer prompt beside it changes the score by $apart" }
        "low_res_masks $masks, iou_predictions $scores"
    }

    /** As in Python: three of a single point, the best of three of a combined prompt, else one. */
    private fun masksByDefault() {
        val stored = goldens.part("segment").first { !it["box"].isNull }
        val image = model.encode(goldens.rgbImage(stored["image"].text))
        val (left, top, right, bottom) = stored["box"].list.map { it.number.toFloat() }
        val box = Box(left, top, right, bottom)
        val inside = Point((left + right) / 2, (top + bottom) / 2)
        val other = Point((3 * left + right) / 4, (top + bottom) / 2)
        fun three(prompt: Prompt) = model.segment(image, listOf(prompt), multimask = true)
        fun one(prompt: Prompt) = model.segment(image, listOf(prompt), multimask = false)
        fun best(prompt: Prompt) = listOf(three(prompt).maxBy { it.score })
        val mask = one(Prompt(box = box)).single().lowResolution
        val cases = listOf(
            Prompt(listOf(inside)) to ::three,
            Prompt(listOf(inside, other)) to ::best,
            Prompt(listOf(inside), box) to ::best,
            Prompt(box = box) to ::one,
            Prompt(listOf(inside, other), mask = mask) to ::one,
        )
        for ((place, case) in cases.withIndex()) checks.check("masks by default[$place]") {
            val (prompt, wanted) = case
            val found = model.segment(image, listOf(prompt))
            val expected = wanted(prompt)
            check(found.map { it.score } == expected.map { it.score }) { "other scores, ${found.size} masks" }
            check(found.zip(expected).all { (a, b) -> a.lowResolution.contentEquals(b.lowResolution) }) { "other masks" }
            "${found.size}"
        }
    }

    private fun imageEmbeddings() = eachOf("image_embeddings") { each ->
        goldens.worst(model.embedImage(goldens.rgbImage(each["image"].text)), each["expected"])
    }

    private fun classEmbeddings() = eachOf("class_embeddings") { each ->
        val found = model.embedLabels(each["labels"].list.map { it.text })
        goldens.worst(found.flatMap { it.asList() }.toFloatArray(), each["expected"])
    }

    private fun scoreMaps() = eachOf("score_maps") { each ->
        val calibration = model.manifest.calibration
        val (height, width) = each["size"].list.map { it.int }
        val key = each["score_map"].text
        val frame = Frame(width, height, each["resolution"].int)
        val map = ScoreMap(goldens.tensors.floats(key), goldens.tensors.shape(key)[0], frame)
        check(abs(map.presence - each["presence"].number) < 1e-5) { "presence ${map.presence}" }
        val points = map.points(count = 3, threshold = calibration.maskThresholdScore)
        val expected = each["points"].list.map { point -> point.list.map { it.number } }
        check(points.size == expected.size) { "${points.size} points, expected ${expected.size}" }
        for ((point, wanted) in points.zip(expected)) {
            val near = abs(point.x - wanted[0]) < 1e-3 && abs(point.y - wanted[1]) < 1e-3
            check(near) { "a point (${point.x}, ${point.y})" }
        }
        goldens.worst(map.maskPrompt(model.manifest.maskSide, calibration.promptScale), each["mask_input"])
    }

    private fun masks() = eachOf("masks") { each ->
        val (height, width) = each["size"].list.map { it.int }
        val key = each["low_res"].text
        val frame = Frame(width, height, each["resolution"].int)
        val side = goldens.tensors.shape(key)[0]
        val mask = Mask.ofLowResolution(goldens.tensors.floats(key), side, frame, model.manifest.maskThreshold)
        val iou = goldens.iou(listOf(mask), each["mask"].text)
        check(iou >= 0.999) { "IoU $iou" }
        "IoU %.5f".format(iou)
    }

    /**
     * The whole way; bounds of what presence may be off, and of masks, are those of `samclip verify`, or closer.
     *
     * A bundle of random weights has no answer of it.
     */
    private fun textToMask(opened: SamClip, precision: String, presence: Double, iou: Double) =
        if (randomWeights) Unit else eachOf("text_to_mask", " $precision") { each ->
            val labels = opened.loadLabels(each["pack"].text)
            val rgbImage = goldens.rgbImage(each["image"].text)
            val image = opened.encode(rgbImage)
            val maps = opened.scoreMaps(image, labels)
            val found = opened.segmentText(image, labels)
            val expected = each["presence"].list.map { it.number }
            val scores = each["scores"].list.map { it.number }
            check(found.size == expected.size) { "${found.size} labels, expected ${expected.size}" }
            for ((place, one) in found.withIndex()) {
                val name = one.label
                check(name == labels[place]) { "the label $place is $name" }
                check(abs(one.presence - expected[place]) <= presence) { "$name: presence ${one.presence}" }
                check(abs(one.score - scores[place]) <= 0.1) { "$name: score ${one.score}" }
                check(one.present == (one.mask.area > 0)) { "$name: present ${one.present}, area ${one.mask.area}" }
                check(abs(maps[place].presence - one.presence) < 1e-3) { "$name: its map says ${maps[place].presence}" }
            }
            val overlap = goldens.iou(found.map { it.mask }, each["masks"].text)
            check(overlap >= iou) { "IoU $overlap" }
            "%s; IoU %.4f".format(found.joinToString { "%s %.3f".format(it.label, it.presence) }, overlap)
        }

    private fun eachOf(part: String, note: String = "", check: (Json) -> String) {
        var entries = emptyList<Json>()
        checks.check("$part are stored") { entries = goldens.part(part) }
        for ((place, each) in entries.withIndex()) checks.check("$part[$place]$note") { check(each) }
    }
}
