package samclip.checks

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.security.MessageDigest
import java.util.Base64
import kotlin.math.abs
import samclip.BundleException
import samclip.BundleTamperedException
import samclip.Frame
import samclip.Json
import samclip.KnownWords
import samclip.LabelPack
import samclip.Manifest
import samclip.Mask
import samclip.Reading
import samclip.SamClip
import samclip.TextException
import samclip.WordReader
import samclip.WordTable
import samclip.cleanText
import samclip.settled

/** What `label_cases.json` asks, which the Python package answered; and the same of a model. */
internal class LabelChecks(private val folder: File, cases: File, private val checks: Checks) {
    private val cases = Json.parse(cases.readText(), cases.name)

    fun run() {
        for (each in cases["exclusive"].list) checks.check("labels compete: ${each["name"].text}") { competing(each) }
        for (each in cases["readings"].list) checks.check("read \"${each["label"].text}\"") { read(each) }
        for (each in cases["unknown"].list) checks.check("not known: \"${each["label"].text}\"") { near(each) }
        for (each in cases["thresholds"].list) checks.check("thresholds of a pack: ${each["name"].text}") {
            packed(each, each["thresholds"], { it.number.toFloat() }, LabelPack::thresholds)
        }
        for (each in cases["read_as"].list) checks.check("read_as of a pack: ${each["name"].text}") {
            packed(each, each["read_as"], ::reading, LabelPack::readAs)
        }
        checks.check("a label has the threshold of its pack, or the bundle's") {
            SamClip.load(folder, JniBackend).use(::gates)
        }
        checks.check("a model tells its words") {
            SamClip.load(folder, JniBackend).use { model ->
                check(model.words.size > 1000 && "dog" in model.words) { "${model.words.size} words" }
                val (same, next) = model.nearestWords("dog", count = 2)
                check(same.word == "dog" && same.cosine > 0.98 && next.cosine < same.cosine) { "$same, $next" }
            }
        }
        checks.check("a model reads labels by its table") { SamClip.load(withTable(), JniBackend).use(::readsLabels) }
        checks.check("the same without text_to_mask") {
            SamClip.load(withTable("\"text_to_mask@" to "\"other@"), JniBackend).use(::readsLabels)
        }
        checks.check("labels of a pack are read as it tells, without a text encoder") {
            val file = "golden/other.safetensors" // no words of the bundle are needed
            val edited = withTable("\"text_encoder\":" to "\"other\":", "\"nouns.safetensors\"" to "\"$file\"")
            SamClip.load(edited, JniBackend).use(::tellsItsPack)
        }
        checks.check("the thresholds of taught words are those of what is read as them") {
            SamClip.load(withTable(), JniBackend).use(::hasTaughtThresholds)
        }
        checks.refuses<BundleTamperedException>("a changed table", "words.json") {
            val copy = withTable()
            File(copy, "words.json").appendText(" ")
            SamClip.load(copy, JniBackend).use { it.readLabels(listOf("dog")) }
        }
        checks.refuses<BundleException>("a table of another schema", "schema_version 2") { table("2") }
        checks.refuses<BundleException>("a table without a part", "joints") { table("1") }
        checks.check("a bundle without a table lets each text speak for itself") {
            val copy = withTable()
            check(File(copy, "words.json").delete())
            SamClip.load(copy, JniBackend).use { check(it.readLabels(listOf("woman", "zxqv")).isEmpty()) }
        }
        checks.check("labels that compete share no pixel, in a bundle without nouns that calibrates objects") {
            SamClip.load(withoutNouns(), JniBackend).use(::sharesNoPixel)
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

    /** A mask by the logits of an image as large as the model's input. */
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
        check(known.unknown(embedding) == reading(each["reading"])) { "${known.unknown(embedding)}" }
    }

    private fun read(each: Json): String {
        val (asked) = cases["tables"].list
        val reader = WordReader(WordTable(asked["table"]), asked["words"].list.map { it.text })
        val found = reader.read(cleanText(each["label"].text))
        check(found == each["reading"].takeUnless { it.isNull }?.let(::reading)) { "$found" }
        return "$found"
    }

    private fun reading(json: Json) = Reading(
        Reading.Kind.valueOf(json["kind"].text.uppercase()),
        json["words"].list.map { it.text },
        json.find("cosine")?.number?.toFloat(),
    )

    /** A pack that must be refused, or has what is expected for each label. */
    private fun <T> packed(each: Json, expected: Json, value: (Json) -> T, part: (LabelPack) -> List<T?>) {
        val edited = File(folder, "manifest.json").readText()
            .replace(Regex("(\"embed_dim\":) ?[0-9]+"), "$1 4")
            .replaceFirst(Regex("(\"name\":) ?\"[^\"]*\""), "$1 \"cases\"")
            .replaceFirst(Regex("(\"revision\":) ?\"[^\"]*\""), "$1 \"1\"")
        val manifest = Manifest(Json.parse(edited, "manifest.json"))
        val content = Base64.getDecoder().decode(each["pack"].text)
        val found = runCatching { part(LabelPack.read(content, "case.safetensors", manifest)) }
        if (expected.isNull) {
            check(found.exceptionOrNull() is BundleException) { "$found" }
        } else {
            check(found.getOrThrow() == expected.list.map { if (it.isNull) null else value(it) }) { "$found" }
        }
    }

    private fun readsLabels(model: SamClip): String {
        val readings = model.readLabels(listOf("dog", "couches", "woman", "pet", "zxqv", "hot plate"))
        fun known(kind: Reading.Kind, vararg words: String) = Reading(kind, words.asList())
        val (taught, same, woman, pet) = readings.values.toList()
        check(taught == known(Reading.Kind.TAUGHT, "dog") && same == known(Reading.Kind.SAME, "sofa")) { "$readings" }
        check(woman == known(Reading.Kind.READ_AS, "person")) { "$readings" }
        check(pet == known(Reading.Kind.READ_AS, "person", "sky")) { "$readings" }
        for (label in listOf("zxqv", "hot plate")) {
            val (nearest) = model.nearestWords(label, count = 1)
            val expected = Reading(Reading.Kind.UNKNOWN, listOf(nearest.word), nearest.cosine)
            check(readings[label] == expected) { "$readings" }
        }
        check(model.embedLabels(listOf("woman"))[0].contentEquals(model.embedLabels(listOf("person"))[0]))
        val refused = runCatching { model.embedLabels(listOf("pet")) }.exceptionOrNull()
        check(refused is TextException && "any of person, sky" in refused.message.orEmpty()) { "$refused" }
        return answersAsRead(model)
    }

    /** What is asked is a person and the sky, both of which the image shows. */
    private fun answersAsRead(model: SamClip): String {
        val goldens = Goldens(folder)
        val rgbImage = goldens.rgbImage(goldens.part("text_to_mask").first()["image"].text)
        val image = model.encode(rgbImage)
        val asked = listOf("person", "sky", "woman", "pet", "zxqv")
        val (person, sky, woman, pet, unknown) = model.segmentText(image, asked)
        check(person.readAs == null && sky.readAs == null) { "${person.readAs}, ${sky.readAs}" }
        check(person.present && sky.present && woman.present && pet.present) { "something is not there" }
        check(woman.readAs?.words == listOf("person") && woman.mask.area == person.mask.area) { "${woman.readAs}" }
        check(abs(woman.presence - person.presence) < 1e-5) { "a woman's presence is ${woman.presence}" }
        check(abs(pet.presence - maxOf(person.presence, sky.presence)) < 1e-5) { "the presence is ${pet.presence}" }
        val all = (0 until rgbImage.height).flatMap { y -> (0 until rgbImage.width).map { x -> x to y } }
        val both = all.count { (x, y) -> pet.mask[x, y] && (person.mask[x, y] || sky.mask[x, y]) }
        val either = all.count { (x, y) -> pet.mask[x, y] || person.mask[x, y] || sky.mask[x, y] }
        check(both > 0.8 * either) { "any of both covers $both of $either pixels" }
        val maps = model.scoreMaps(image, asked)
        check(abs(maps[3].presence - pet.presence) < 1e-3) { "its map says ${maps[3].presence}" }

        check(!unknown.present && unknown.presence > 0 && unknown.mask.area == 0) { "zxqv is there" }
        check(unknown.readAs?.kind == Reading.Kind.UNKNOWN) { "${unknown.readAs}" }
        val allowed = model.segmentText(image, asked, allowUnknown = true).last()
        check(allowed.presence == unknown.presence) { "${allowed.presence}, not ${unknown.presence}" }
        check(allowed.present == (allowed.presence >= model.manifest.calibration.presenceThreshold))
        check(model.segmentText(image, asked, threshold = 0f).all { it.present }) { "less than nothing" }
        check(model.segmentText(image, asked, threshold = 1f).none { it.present }) { "surer than sure" }

        val objects = model.segmentInstances(image, listOf("woman", "zxqv"), minScore = 0f)
        check(objects.isNotEmpty() && objects.all { it.label == "woman" }) { "${objects.map { it.label }}" }
        check(objects.all { it.readAs?.words == listOf("person") }) { "${objects.map { it.readAs }}" }
        val more = model.segmentInstances(image, listOf("woman", "zxqv"), minScore = 0f, threshold = 0f)
        check(more.any { it.readAs?.kind == Reading.Kind.UNKNOWN }) { "${more.map { it.label }}" }
        val pets = model.segmentInstances(image, listOf("pet"), minScore = 0f)
        check(pets.isNotEmpty()) { "any of two has no object" }

        val shares = model.classify(rgbImage, asked)
        check(shares.map { it.label } == asked && abs(shares.sumOf { it.probability.toDouble() } - 1) < 1e-5)
        check(shares[2].probability == shares[0].probability) { "a woman is no person" }
        check(shares[3].probability == maxOf(shares[0].probability, shares[1].probability)) { "any is no maximum" }
        check(shares.map { it.readAs } == listOf(person, sky, woman, pet, unknown).map { it.readAs })
        return "$both of $either pixels"
    }

    private fun tellsItsPack(model: SamClip) {
        val goldens = Goldens(folder)
        val golden = goldens.part("text_to_mask").first()
        val stored = """[{"kind": "read_as", "words": ["hat"]}, null, """ +
            """{"kind": "unknown", "words": ["modem"], "cosine": 0.25}]"""
        val content = withMetadata(File(folder, golden["pack"].text).readBytes(), "read_as", stored)
        val labels = model.loadLabels(content, "edited.safetensors")
        val told = listOf(
            Reading(Reading.Kind.READ_AS, listOf("hat")), null, Reading(Reading.Kind.UNKNOWN, listOf("modem"), 0.25f),
        )
        val readings = model.readLabels(labels).values.toList()
        val taught = Reading(Reading.Kind.TAUGHT, listOf(labels[1]))
        check(readings == listOf(told[0], taught, told[2])) { "$readings" }
        val image = model.encode(goldens.rgbImage(golden["image"].text))
        val found = model.segmentText(image, labels)
        check(found.map { it.readAs } == told) { "${found.map { it.readAs }}" }
        check(found[0].present && !found[2].present) { "${found.map { it.present }}" }
        val allowed = model.segmentText(image, labels, allowUnknown = true)
        check(allowed[2].present && allowed[2].presence == found[2].presence) { "${allowed.map { it.present }}" }
    }

    /** A pack that gives "person" a threshold of 1: a woman is then not there either, nor is any of both. */
    private fun hasTaughtThresholds(model: SamClip) {
        val goldens = Goldens(folder)
        val golden = goldens.part("text_to_mask").first()
        val content = withMetadata(File(folder, golden["pack"].text).readBytes(), "thresholds", "[1, null, null]")
        model.loadLabels(content, "edited.safetensors")
        val image = model.encode(goldens.rgbImage(golden["image"].text))
        val present = model.segmentText(image, listOf("woman", "pet", "sky")).map { it.present }
        check(present == listOf(false, false, true)) { "$present" }
    }

    private fun table(version: String): WordTable {
        val stored = """{"schema_version": $version, "same": {}, "read_as": {}, "any_of": {}, "unknown": []}"""
        return WordTable.read(stored.toByteArray(), "words.json")
    }

    /** The bundle with a table of its own, and with other edits of its manifest. */
    private fun withTable(vararg edits: Pair<String, String>): File {
        val table = """{"schema_version": 1, "same": {"sofa": ["couch"]}, "read_as": {"person": ["woman"]},
            "any_of": {"pet": ["person", "sky", "yeti"]}, "unknown": ["hot plate"], "joints": ["of", "with"],
            "measures": ["slice"], "articles": ["a", "the"]}"""
        val digest = MessageDigest.getInstance("SHA-256").digest(table.toByteArray())
        val sha256 = digest.joinToString("") { "%02x".format(it) }
        var manifest = File(folder, "manifest.json").readText()
        for ((from, to) in edits) manifest = manifest.replace(from, to)
        val entry = """{"path": "words.json", "sha256": "$sha256", "size_bytes": ${table.length}}, """
        val edited = manifest.replace("\"words.json\"", "\"other.json\"")
            .replaceFirst(Regex("(\"files\": ?\\[)(?=\\s*\\{\\s*\"path\": ?\"tokenizer.json)"), "$1$entry")
        check(entry in edited) { "the manifest's files do not begin with tokenizer.json" }
        val copy = linkedCopy(folder, "manifest.json", edited)
        File(copy, "words.json").let { file ->
            file.delete()
            file.writeText(table)
        }
        return copy
    }

    private fun gates(model: SamClip) {
        val goldens = Goldens(folder)
        val golden = goldens.part("text_to_mask").first()
        val content = File(folder, golden["pack"].text).readBytes()
        val labels = model.loadLabels(golden["pack"].text)
        val image = model.encode(goldens.rgbImage(golden["image"].text))
        val odds = model.segmentText(image, labels).map { it.presence }
        fun present(thresholds: List<Float?>): List<Boolean> {
            model.loadLabels(withMetadata(content, "thresholds", "$thresholds"), "edited.safetensors")
            return model.segmentText(image, labels).map { it.present }
        }
        val usual = odds.map { it >= model.manifest.calibration.presenceThreshold }
        check(present(odds) == odds.map { true }) { "the presences are not enough" }
        check(present(odds.map { it + 1e-4f }) == odds.map { false }) { "more than the presences is enough" }
        check(present(odds.map { null }) == usual) { "the bundle's threshold is not taken" }
    }

    /** A pack with a text of JSON more. */
    private fun withMetadata(pack: ByteArray, key: String, stored: String): ByteArray {
        val length = ByteBuffer.wrap(pack).order(ByteOrder.LITTLE_ENDIAN).getLong().toInt()
        val escaped = stored.replace("\"", "\\\"")
        val header = String(pack, 8, length)
            .replace(Regex("\"__metadata__\": ?\\{")) { "${it.value}\"$key\": \"$escaped\", " }.toByteArray()
        val start = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(header.size.toLong())
        return start.array() + header + pack.copyOfRange(8 + length, pack.size)
    }

    private fun sharesNoPixel(model: SamClip): String {
        val goldens = Goldens(folder)
        val golden = goldens.part("text_to_mask").first()
        val labels = model.loadLabels(golden["pack"].text)
        check(model.words.isEmpty() && model.nearestWords("zxqv").isEmpty()) { "${model.words}" }
        model.embedLabels(listOf("zxqw"))
        val image = model.encode(goldens.rgbImage(golden["image"].text))
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
