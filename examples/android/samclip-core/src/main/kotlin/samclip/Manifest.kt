package samclip

/** What a bundle's `manifest.json` says, as far as an app needs it. */
class Manifest internal constructor(document: Json) {
    init {
        val version = document["schema_version"].number
        if (version != SCHEMA_VERSION) {
            throw BundleSchemaException(
                "the bundle has schema_version ${version.toInt()}; this reader knows ${SCHEMA_VERSION.toInt()}: " +
                    "export the bundle again, or update samclip-core",
            )
        }
    }

    val name: String = document["name"].text
    val revision: String = document["revision"].text
    val embedDim: Int = document["model"]["embed_dim"].int
    internal val convolutional: Boolean = document["model"]["image_encoder"]["kind"].text == "pyramid"
    val patchSize: Int = document["image"]["patch_size"].int
    val padColour: List<Int> = document["image"]["pad_colour"].list.map { it.int }
    val segmentation: Int = resolution(document, "segmentation")
    val classification: Int = resolution(document, "classification")
    val contextLength: Int = document["text"]["context_length"].int
    val templates: List<String> = document["text"]["templates"].list.map { it.text }
    val logitScale: Double = document["text"]["logit_scale"].number
    val calibration = Calibration(document["calibration"])
    val maskThreshold: Float = document["masks"]["mask_threshold"].number.toFloat()
    val maxPrompts: Int = document["masks"]["max_prompts"].int
    internal val files: Map<String, String> = document["files"].list.associate { it["path"].text to it["sha256"].text }
    internal val graphs: Map<String, GraphEntry> = document["graphs"].fields.mapValues { GraphEntry(it.value) }

    /** The side of mask prompts and of low-resolution masks. */
    val maskSide: Int get() = 4 * segmentation / patchSize

    private fun resolution(document: Json, task: String): Int {
        val settings = document["tasks"][task]
        val crop = settings["crop"].text
        if (crop != "letterbox") {
            throw BundleSchemaException("the task $task has the crop $crop; this reader knows letterbox only")
        }
        return settings["resolution"].int
    }

    private companion object {
        const val SCHEMA_VERSION = 1.0
    }
}

/** How cosines become scores, and from which score on a label is there. */
class Calibration internal constructor(field: Json) {
    val scale: Float = field["scale"].number.toFloat()
    val bias: Float = field["bias"].number.toFloat()
    val presenceThreshold: Float = field["presence_threshold"].number.toFloat()
    val maskThresholdScore: Float = field["mask_threshold_score"].number.toFloat()
    val promptScale: Float = field.find("prompt_scale")?.number?.toFloat() ?: 1f
    val objects: ObjectScore? = field.find("objects")?.takeUnless { it.isNull }?.let(::ObjectScore)
    internal val boxMargin: Float? = field.find("box_margin")?.takeUnless { it.isNull }?.number?.toFloat()
    internal val maskBias: Float = field.find("mask_bias")?.number?.toFloat() ?: 0f

    /** A label's score, a logit, by the cosine with its embedding. */
    internal fun logit(cosine: Float): Float = scale * (cosine - bias)
}

/** How likely an object of a label is right, by a weighted sum, and from which score on it is told. */
class ObjectScore internal constructor(field: Json) {
    val minScore: Float = field["min_score"].number.toFloat()
    internal val labelScore: Double = field["label_score"].number
    internal val predictedIou: Double = field["predicted_iou"].number
    internal val stabilityScore: Double = field["stability_score"].number
    internal val bias: Double = field["bias"].number
}

/** A graph: its inputs and outputs, and the files that hold it for each runtime. */
internal class GraphEntry(field: Json) {
    val spec = GraphSpec(tensors(field["inputs"]), tensors(field["outputs"]))
    val artifacts: List<Artifact> = field["artifacts"].list.map(::Artifact)

    private fun tensors(field: Json) = field.list.map { each ->
        val axes = each["shape"].list.map { if (it.isText) Axis(it.text) else Axis(null, it.int.toLong()) }
        TensorSpec(each["name"].text, each["dtype"].text, axes)
    }
}

/** A file that a runtime reads, and the weights that it refers to, with their sha256. */
internal class Artifact(field: Json) {
    val runtime: String = field["runtime"].text
    val precision: String = field["precision"].text
    val path: String = field["path"].text
    val files: Map<String, String> =
        (listOf(field) + field["weights"].list).associate { it["path"].text to it["sha256"].text }
}
