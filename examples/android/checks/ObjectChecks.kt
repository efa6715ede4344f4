package samclip.checks

import java.io.File
import kotlin.math.abs
import kotlin.math.cos
import kotlin.math.sin
import samclip.AskedLabel
import samclip.Calibration
import samclip.DrawnMask
import samclip.EncodedImage
import samclip.Frame
import samclip.Json
import samclip.Mask
import samclip.ObjectMask
import samclip.Objects
import samclip.SamClip
import samclip.SeenLabel
import samclip.Token
import samclip.settled

/** What `object_cases.json` asks, which the Python package answered; and what holds of the objects of any model. */
internal class ObjectChecks(private val folder: File, cases: File, private val checks: Checks) {
    private val cases = Json.parse(
        // A calibration must have these two; no case depends on them.
        cases.readText().replace("\"scale\":", "\"mask_threshold_score\": 0, \"presence_threshold\": 0, \"scale\":"),
        cases.name,
    )
    private val side = this.cases["side"].int

    fun run() {
        for (each in cases["cases"].list) checks.check("objects: ${each["name"].text}") { found(each) }
        checks.check("objects of one label do not compete", ::sameLabel)
        checks.check("objects of an image") { SamClip.load(folder, JniBackend).use(::ofImage) }
        checks.check("objects of a bundle that does not calibrate them") {
            SamClip.load(uncalibrated(), JniBackend).use(::products)
        }
    }

    private fun found(each: Json): String {
        val (height, width) = each["size"].list.map { it.int }
        val frame = Frame(width, height, cases["resolution"].int)
        val extent = listOf(frame.rows, frame.columns)
        check(extent == each["extent"].list.map { it.int }) { "extent $extent" }
        val objects = Objects(frame, side, each["mask_threshold"].number.toFloat())
        val candidates = objects.candidates(logits(each["label"]))
        val asked = each["candidates"].list
        check(candidates.size == asked.size) { "${candidates.size} candidates, expected ${asked.size}" }
        for ((candidate, wanted) in candidates.zip(asked)) {
            val places = candidate.tokens.flatMap { listOf(it.x, it.y) }
            val expected = wanted["point"].list + wanted["box"].list
            check(near(places, expected, 1e-3)) { "a candidate at $places" }
            val labels = candidate.tokens.map { it.label }
            check(labels == listOf(Token.FOREGROUND, Token.TOP_LEFT, Token.BOTTOM_RIGHT)) { "tokens $labels" }
        }
        val decoded = each["decoded"].list.map { four ->
            four.list.map { DrawnMask(logits(it["blobs"]), it["predicted_iou"].number.toFloat()) }
        }
        val drawn =
            if (candidates.size < 2) listOf(decoded.first().first())
            else decoded.zip(candidates) { masks, candidate -> objects.best(masks, candidate) }
        val found = objects.distinct(drawn, label())
        val expected = each["objects"].list
        check(found.size == expected.size) { "${found.size} objects, expected ${expected.size}" }
        found.zip(expected, ::same)
        return "${candidates.size} candidates, ${found.size} objects"
    }

    private fun same(found: ObjectMask, expected: Json) {
        val scores = listOf(found.score, found.labelScore, found.predictedIou, found.stabilityScore)
        val names = listOf("score", "label_score", "predicted_iou", "stability_score")
        check(near(scores, names.map { expected[it] }, 1e-3)) { "the scores are $scores" }
        val area = expected["area"].number
        check(abs(found.mask.area - area) <= 0.01 * area) { "the area is ${found.mask.area}, expected $area" }
        val box = box(found.mask)
        check(near(box, expected["box"].list, 1.0)) { "the box is $box" }
    }

    private fun near(found: List<Float>, expected: List<Json>, bound: Double) =
        found.size == expected.size && found.zip(expected).all { (a, b) -> abs(a - b.number) <= bound }

    private fun box(mask: Mask): List<Float> {
        val rows = (0 until mask.height).filter { y -> (0 until mask.width).any { x -> mask[x, y] } }
        val columns = (0 until mask.width).filter { x -> rows.any { y -> mask[x, y] } }
        return listOf(columns.first(), rows.first(), columns.last() + 1, rows.last() + 1).map { it.toFloat() }
    }

    /** The logits of blobs, as `tests/object_cases.py` tells them. */
    private fun logits(blobs: Json): FloatArray {
        val numbers = blobs.list.map { blob -> blob.list.map { it.number } }
        return FloatArray(side * side) { cell ->
            val heights = numbers.map { (left, top, across, down, peak) ->
                val x = (cell % side - left) / across
                val y = (cell / side - top) / down
                peak * (1 - (x * x + y * y))
            }
            (heights + cases["lowest"].number).max().toFloat()
        }
    }

    /** The label of the cases, and patches that turn by 1/8 radian from one column to the next. */
    private fun label(): SeenLabel {
        val grid = cases["grid"].int
        val patches = List(grid * grid) { floatArrayOf(cos(it % grid / 8f), sin(it % grid / 8f)) }
        val embedding = cases["text_embedding"].list.map { it.number.toFloat() }.toFloatArray()
        val asked = AskedLabel("label", null, listOf(embedding), threshold = 0f)
        return SeenLabel(asked, patches, Calibration(cases["calibration"]))
    }

    private fun sameLabel() {
        val frame = Frame(4, 4, 4)
        val whole = Mask.ofModel(FloatArray(16) { 1f }, frame, 0f)
        val half = Mask.ofModel(FloatArray(16) { if (it < 8) 1f else -1f }, frame, 0f)
        val areas = settled(listOf(half, whole, whole), listOf(0.9f, 0.8f, 0.7f), listOf("a", "a", "b"))
            .map { it?.area }
        check(areas == listOf(8, 16, null)) { "$areas are left" }
    }

    private fun ofImage(model: SamClip): String {
        val labels = labels(model)
        val image = image(model)
        val all = model.segmentInstances(image, labels, minScore = 0f)
        check(all.isNotEmpty()) { "there is none" }
        check(all.all { it.mask.area > 0 }) { "a mask is empty" }
        check(all.map { it.score } == all.map { it.score }.sortedDescending()) { "the best is not the first" }
        val present = model.segmentText(image, labels).filter { it.present }.map { it.label }
        check(all.all { it.label in present }) { "an absent label has objects" }
        check(model.segmentInstances(image, labels, threshold = 1f).isEmpty()) { "a label is surer than sure" }
        val least = model.manifest.calibration.objects?.minScore ?: 0f
        val scores = model.segmentInstances(image, labels).map { it.score }
        check(scores == all.map { it.score }.filter { it >= least }) { "the scores are $scores" }
        val best = model.segmentInstances(image, labels, minScore = 0f, maxInstances = 1).single()
        check(best.score == all.first().score) { "the best one has the score ${best.score}" }
        val apart = model.segmentInstances(image, labels, minScore = 0f, exclusive = true)
        check(apart.isNotEmpty()) { "none is left" }
        for (y in 0 until image.frame.height) for (x in 0 until image.frame.width) {
            val owners = apart.filter { it.mask[x, y] }.map { it.label }.distinct()
            check(owners.size <= 1) { "($x, $y) has the labels $owners" }
        }
        return all.joinToString { "%s %.3f %d".format(it.label, it.score, it.mask.area) }
    }

    private fun products(model: SamClip) {
        val found = model.segmentInstances(image(model), labels(model))
        check(found.isNotEmpty()) { "there is none" }
        for (each in found) {
            val product = each.labelScore * each.predictedIou * each.stabilityScore
            check(abs(each.score - product) < 1e-6) { "the score is ${each.score}, not $product" }
        }
    }

    private fun golden() = Goldens(folder).part("text_to_mask").first()

    private fun labels(model: SamClip): List<String> = model.loadLabels(golden()["pack"].text)

    private fun image(model: SamClip): EncodedImage =
        model.encode(Goldens(folder).rgbImage(golden()["image"].text))

    private fun uncalibrated(): File {
        val manifest = File(folder, "manifest.json").readText()
        return linkedCopy(folder, "manifest.json", manifest.replace("\"objects\":", "\"other\":"))
    }
}
