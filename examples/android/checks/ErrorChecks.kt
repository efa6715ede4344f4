package samclip.checks

import java.io.File
import java.nio.file.Files
import samclip.Backend
import samclip.Box
import samclip.BundleException
import samclip.BundleSchemaException
import samclip.BundleTamperedException
import samclip.EmbeddingMismatchException
import samclip.Graph
import samclip.GraphSpec
import samclip.ImageException
import samclip.RgbImage
import samclip.Point
import samclip.Prompt
import samclip.PromptException
import samclip.SamClip
import samclip.TextException

/**
 * A folder of links to a bundle's files, but for one; gone with the program.
 *
 * No folder is a link: what is in it would be deleted too.
 */
internal fun linkedCopy(folder: File, path: String, content: String?): File {
    val copy = Files.createTempDirectory("samclip").toFile()
    folder.walk().filter { it.isFile && it.relativeTo(folder).path != path }.forEach { file ->
        val target = File(copy, file.relativeTo(folder).path)
        target.parentFile.mkdirs()
        Files.createSymbolicLink(target.toPath(), file.absoluteFile.toPath())
    }
    if (content != null) File(copy, path).writeText(content)
    Runtime.getRuntime().addShutdownHook(Thread { copy.deleteRecursively() })
    return copy
}

private object OtherBackend : Backend {
    override val runtime get() = "other"

    override fun open(file: File, spec: GraphSpec): Graph = error("no file is of this runtime")
}

/** What an app may do wrong: each has one clear error, of its own kind. */
internal class ErrorChecks(private val folder: File, private val checks: Checks) {
    private val rgbImage = RgbImage(40, 30, ByteArray(40 * 30 * 3) { it.toByte() })
    private val manifest = File(folder, "manifest.json").readText()

    fun run() {
        bundles()
        images()
        SamClip.load(folder, JniBackend).use { model ->
            texts(model)
            packs(model)
            prompts(model)
            objects(model)
        }
    }

    private fun bundles() {
        val encoder = "onnx/image_encoder_${segmentation()}.onnx"
        checks.refuses<BundleException>("a folder without a bundle", "manifest.json", "/nowhere") {
            SamClip.load(File("/nowhere"), JniBackend)
        }
        refusesBundle<BundleException>("a manifest that is no JSON", "not JSON") { "manifest.json" to "{\"a\": 1" }
        refusesBundle<BundleSchemaException>("another schema_version", "schema_version 2", "knows 1") {
            edited(Regex("\"schema_version\":( ?)1"), "\"schema_version\":$1 2")
        }
        refusesBundle<BundleSchemaException>("a path out of the folder", "leads out") {
            edited(Regex(encoder), "../$encoder")
        }
        refusesBundle<BundleTamperedException>("a changed graph", encoder, "copy the bundle again") {
            encoder to "changed"
        }
        refusesBundle<BundleException>("missing weights", "cannot read", ".weights") { weights() to null }
        refusesBundle<BundleException>("a missing graph", "no graph image_encoder@${segmentation()} for onnx") {
            edited(Regex("\"image_encoder@"), "\"other@")
        }
        checks.refuses<BundleException>("a runtime that the bundle has no files of", "for other, ", "it has none") {
            SamClip.load(folder, OtherBackend).use { it.encode(rgbImage) }
        }
        refusesBundle<BundleException>("a label of no pack where there is no text encoder", "no pack", "text_encoder") {
            edited(Regex("\"text_encoder\":( ?\\{\\s*\"inputs\")"), "\"other\":$1")
        }
        checks.refuses<BundleException>("another precision", "fp8", "fp32") {
            SamClip.load(folder, JniBackend, "fp8").use { it.encode(rgbImage) }
        }
    }

    private fun images() {
        checks.refuses<ImageException>("an empty image", "0 x 30") { RgbImage(0, 30, ByteArray(0)) }
        checks.refuses<ImageException>("too few bytes", "3600", "900") { RgbImage(40, 30, ByteArray(900)) }
    }

    private fun texts(model: SamClip) {
        checks.refuses<TextException>("no label", "at least one") { model.embedLabels(emptyList()) }
        checks.refuses<TextException>("an empty label", "text 1 is empty") { model.embedLabels(listOf("dog", " \t")) }
        checks.refuses<TextException>("two labels in one", "\"dog,cat\"", "comma") {
            model.embedLabels(listOf("dog,cat"))
        }
        checks.refuses<PromptException>("a number of words that cannot be", "count is 0") {
            model.nearestWords("dog", count = 0)
        }
        checks.refuses<TextException>("a label twice to read", "\"dog\" and \"DOG\"") {
            model.readLabels(listOf("dog", "DOG"))
        }
        checks.refuses<TextException>("a label twice", "\"dog\" and \" Dog\"") {
            model.embedLabels(listOf("dog", " Dog"))
        }
    }

    private fun packs(model: SamClip) {
        val pack = File(folder, "golden/labels.safetensors").readBytes()
        val revision = model.manifest.revision
        val text = String(pack, Charsets.ISO_8859_1)
        val other = text.replace(revision, revision.reversed()).toByteArray(Charsets.ISO_8859_1)
        checks.refuses<EmbeddingMismatchException>("a pack of another model", revision.reversed(), revision) {
            model.loadLabels(other, "other.safetensors")
        }
        val old = text.replace(Regex("(\"schema_version\": ?)\"2\""), "$1\"1\"").toByteArray(Charsets.ISO_8859_1)
        checks.refuses<BundleSchemaException>("an old pack", "schema_version 1", "save it again") {
            model.loadLabels(old, "old.safetensors")
        }
        checks.refuses<BundleException>("half a pack", "half.safetensors", "outside") {
            model.loadLabels(pack.copyOf(pack.size - 1), "half.safetensors")
        }
        checks.refuses<BundleException>("a pack of 3 bytes", "3 bytes") {
            model.loadLabels(ByteArray(3), "short.safetensors")
        }
        checks.refuses<BundleException>("a pack that is not there", "no file other.safetensors") {
            model.loadLabels("other.safetensors")
        }
    }

    private fun prompts(model: SamClip) {
        val image = model.encode(rgbImage)
        fun refuses(name: String, prompt: Prompt, vararg words: String) =
            checks.refuses<PromptException>(name, *words) { model.segment(image, listOf(prompt)) }
        refuses("a prompt of nothing", Prompt(), "nothing to segment")
        refuses("a point outside", Prompt(listOf(Point(40f, 2f))), "(40.0, 2.0)", "40 x 30")
        refuses("a point that is no number", Prompt(listOf(Point(Float.NaN, 2f))), "NaN")
        refuses("a reversed box", Prompt(box = Box(9f, 2f, 3f, 8f)), "[9.0, 2.0, 3.0, 8.0]")
        refuses("a box outside", Prompt(box = Box(50f, 2f, 60f, 8f)), "outside")
        refuses("a mask of another size", Prompt(mask = FloatArray(9)), "9 logits")
        checks.refuses<PromptException>("no prompt", "at least one") { model.segment(image, emptyList()) }
        checks.refuses<EmbeddingMismatchException>("an image of another model", "encode it again") {
            val (file, content) = edited(Regex("\\s*$"), "\n\n")
            val prompt = Prompt(listOf(Point(1f, 1f)))
            SamClip.load(copyWith(file, content), JniBackend).use { it.segment(image, listOf(prompt)) }
        }
    }

    private fun objects(model: SamClip) {
        val image = model.encode(rgbImage)
        val dog = listOf("dog")
        checks.refuses<PromptException>("a presence that cannot be", "threshold is 2.0", "0 to 1") {
            model.segmentText(image, dog, threshold = 2f)
        }
        checks.refuses<PromptException>("a score that cannot be", "minScore is 1.5", "0 to 1") {
            model.segmentInstances(image, dog, minScore = 1.5f)
        }
        checks.refuses<PromptException>("a presence that is no number", "threshold is NaN") {
            model.segmentInstances(image, dog, threshold = Float.NaN)
        }
        checks.refuses<PromptException>("an endless logit", "maskThreshold is Infinity") {
            model.segmentInstances(image, dog, maskThreshold = Float.POSITIVE_INFINITY)
        }
        checks.refuses<PromptException>("a number of objects that cannot be", "maxInstances is 0") {
            model.segmentInstances(image, dog, maxInstances = 0)
        }
    }

    /** Encodes an image and asks for a label in a copy of the bundle in which one file is changed, or missing. */
    private inline fun <reified T : Throwable> refusesBundle(
        name: String,
        vararg words: String,
        crossinline change: () -> Pair<String, String?>,
    ) = checks.refuses<T>(name, *words) {
        val (path, content) = change()
        SamClip.load(copyWith(path, content), JniBackend).use { model ->
            model.segmentText(model.encode(rgbImage), listOf("dog"))
        }
    }

    private fun copyWith(path: String, content: String?): File = linkedCopy(folder, path, content)

    private fun edited(from: Regex, to: String): Pair<String, String> {
        val changed = manifest.replace(from, to)
        check(changed != manifest) { "nothing in the manifest matches $from" }
        return "manifest.json" to changed
    }

    private fun segmentation() = Regex("image_encoder@(\\d+)").findAll(manifest).maxOf { it.groupValues[1].toInt() }

    private fun weights() = checkNotNull(Regex("onnx/image_encoder[^\"]*fp32[^\"]*weights").find(manifest)).value
}
