package samclip.checks

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.Base64
import samclip.BundleException
import samclip.Frame
import samclip.Json
import samclip.KnownWords
import samclip.LabelPack
import samclip.Manifest
import samclip.Mask
import samclip.SamClip
import samclip.settled

/** What `label_cases.json` asks, which the Python package answered; and the same of a model. */
internal class LabelChecks(private val folder: File, cases: File, private val checks: Checks) {
    private val cases = Json.parse(cases.readText(), cases.name)

    fun run() {
        for (each in cases["exclusive"].list) checks.check("labels compete: ${each["name"].text}") { competing(each) }
        for (each in cases["words"].list) checks.check("taught words near \"${each["label"].text}\"") { near(each) }
        for (each in cases["thresholds"].list) checks.check("thresholds of a pack: ${each["name"].text}") { packed(each) }
        checks.check("a label has the threshold of its pack, or the bundle's") {
            SamClip.load(folder, JniBackend).use(::gates)
        }
        checks.check("a model warns once of a label that it was not taught") {
            val warnings = ArrayList<String>()
            SamClip.load(folder, JniBackend, onWarning = warnings::add).use { model ->
                check(model.words.size > 1000 && "dog" in model.words) { "${model.words.size} words" }
                val (same, next) = model.nearestWords("dog", count = 2)
                check(same.word == "dog" && same.cosine > 0.98 && next.cosine < same.cosine) { "$same, $next" }
                model.embedLabels(listOf("dogs", "zxqv"))
                model.embedLabels(listOf("zxqv"))
            }
            check(warnings.size == 1 && "'zxqv'" in warnings.single()) { "$warnings" }
            warnings.single()
        }
        checks.check("labels that compete share no pixel, in a bundle without nouns that calibrates objects") {
            SamClip.load(withoutNouns(), JniBackend, onWarning = { error(it) }).use(::sharesNoPixel)
        }
    }

    private fun competing(each: Json) {
        val (height, width) = each["size"].list.map { it.int }
        val frame = Frame(width, height, maxOf(width, height))
        val masks = each["boxes"].list.map { corners ->
            val (left, top, right, bottom) = corners.list.map { it.int }
            mask(frame) { x, y -> x in left until right && y in top until bottom }
        }
        val found = settled(masks, each["presence"].list.map { it.number.toFloat() })
        val kept = found.indices.filter { found[it] != null }
        check(kept == each["kept"].list.map { it.int }) { "$kept are kept" }
        val owners = (0 until height).map { y ->
            (0 until width).joinToString("") { x -> kept.find { found[it]!![x, y] }?.toString() ?: "." }
        }
        check(owners == each["owners"].list.map { it.text }) { "the owners are $owners" }
        check(kept.sumOf { found[it]!!.area } == owners.sumOf { row -> row.count { it != '.' } }) { "a pixel has two" }
    }

    /** A mask by the logits of a picture as large as the model's input. */
    private fun mask(frame: Frame, inside: (Int, Int) -> Boolean): Mask {
        val side = frame.resolution
        val logits = FloatArray(side * side) { if (inside(it % side, it / side)) 1f else -1f }
        return Mask.ofModel(logits, frame, 0f)
    }

    private fun near(each: Json) {
        fun floats(json: Json) = json.list.map { it.number.toFloat() }.toFloatArray()
        val known = KnownWords(each["words"].list.map { it.text }, each["embeddings"].list.map(::floats))
        val embedding = floats(each["embedding"])
        val found = known.nearest(embedding).map { it.word to it.cosine }
        val expected = each["nearest"].list.map { it.list[0].text to it.list[1].number.toFloat() }
        check(found == expected) { "$found" }
        val warning = known.warning(each["label"].text, embedding)
        check(warning == each["warning"].takeUnless { it.isNull }?.text) { "$warning" }
    }

    private fun packed(each: Json) {
        val edited = File(folder, "manifest.json").readText()
            .replace(Regex("(\"embed_dim\":) ?[0-9]+"), "$1 4")
            .replaceFirst(Regex("(\"name\":) ?\"[^\"]*\""), "$1 \"cases\"")
            .replaceFirst(Regex("(\"revision\":) ?\"[^\"]*\""), "$1 \"1\"")
        val manifest = Manifest(Json.parse(edited, "manifest.json"))
        val content = Base64.getDecoder().decode(each["pack"].text)
        val found = runCatching { LabelPack.read(content, "case.safetensors", manifest).thresholds }
        if (each["thresholds"].isNull) {
            check(found.exceptionOrNull() is BundleException) { "$found" }
        } else {
            val expected = each["thresholds"].list.map { if (it.isNull) null else it.number.toFloat() }
            check(found.getOrThrow() == expected) { "$found" }
        }
    }

    private fun gates(model: SamClip) {
        val goldens = Goldens(folder)
        val golden = goldens.part("text_to_mask").first()
        val content = File(folder, golden["pack"].text).readBytes()
        val labels = model.loadLabels(golden["pack"].text)
        val image = model.encode(goldens.picture(golden["image"].text))
        val odds = model.segmentText(image, labels).map { it.presence }
        fun present(thresholds: List<Float?>): List<Boolean> {
            model.loadLabels(withThresholds(content, thresholds), "edited.safetensors")
            return model.segmentText(image, labels).map { it.present }
        }
        val usual = odds.map { it >= model.manifest.calibration.presenceThreshold }
        check(present(odds) == odds.map { true }) { "the presences are not enough" }
        check(present(odds.map { it + 1e-4f }) == odds.map { false }) { "more than the presences is enough" }
        check(present(odds.map { null }) == usual) { "the bundle's threshold is not taken" }
    }

    /** A pack with thresholds of its labels. */
    private fun withThresholds(pack: ByteArray, thresholds: List<Float?>): ByteArray {
        val length = ByteBuffer.wrap(pack).order(ByteOrder.LITTLE_ENDIAN).getLong().toInt()
        val header = String(pack, 8, length)
            .replace(Regex("(\"__metadata__\": ?\\{)"), "$1\"thresholds\": \"$thresholds\", ").toByteArray()
        val start = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(header.size.toLong())
        return start.array() + header + pack.copyOfRange(8 + length, pack.size)
    }

    private fun sharesNoPixel(model: SamClip): String {
        val goldens = Goldens(folder)
        val golden = goldens.part("text_to_mask").first()
        val labels = model.loadLabels(golden["pack"].text)
        check(model.words.isEmpty() && model.nearestWords("zxqv").isEmpty()) { "${model.words}" }
        model.embedLabels(listOf("zxqw"))
        val image = model.encode(goldens.picture(golden["image"].text))
        val every = model.segmentText(image, labels)
        val found = model.segmentText(image, labels, exclusive = true)
        check(found.map { it.presence } == every.map { it.presence }) { "the presences differ" }
        check(found.all { it.present || it.mask.area == 0 }) { "an absent label has a mask" }
        for (y in 0 until image.frame.height) for (x in 0 until image.frame.width) {
            check(found.count { it.mask[x, y] } <= 1) { "($x, $y) has two labels" }
        }
        return found.joinToString { "${it.label} ${it.mask.area}" }
    }

    /** A folder of links to the bundle's files, with a manifest that lists no nouns and calibrates objects. */
    private fun withoutNouns(): File {
        val objects = """{"label_score": 1, "predicted_iou": 2, "stability_score": 1, "bias": -3, "min_score": 0.5}"""
        val manifest = File(folder, "manifest.json").readText()
        val edited = manifest.replace("\"nouns.safetensors\"", "\"other.safetensors\"")
            .replace(Regex("(\"presence_threshold\":) ?[0-9.e-]+"), "$1 0.001, \"objects\": $objects")
        check(edited.length > manifest.length) { "nothing in the manifest was changed" }
        return linkedCopy(folder, "manifest.json", edited)
    }
}
