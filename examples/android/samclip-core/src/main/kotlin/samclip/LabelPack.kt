package samclip

import kotlin.math.max
import kotlin.math.sqrt

/** Labels with their embeddings, so that an app needs no text encoder for them. */
internal class LabelPack private constructor(val labels: List<String>, val embeddings: List<FloatArray>) {
    companion object {
        /** Reads the content of a pack for a model; [name] stands for it in messages. */
        fun read(content: ByteArray, name: String, manifest: Manifest): LabelPack {
            val file = Safetensors.read(content, name)
            fun field(key: String) =
                file.metadata[key] ?: throw BundleException("$name is no label pack: it has no $key")
            if (field("format") != "samclip labels") throw BundleException("$name is no label pack: ${field("format")}")
            if (field("schema_version") != "1") {
                throw BundleSchemaException("$name has schema_version ${field("schema_version")}; this reader knows 1")
            }
            if (field("model") != manifest.name || field("revision") != manifest.revision) {
                throw EmbeddingMismatchException(
                    "$name was made by ${field("model")} ${field("revision")}, this is ${manifest.name} " +
                        "${manifest.revision}: save it again with this model",
                )
            }
            val labels = Json.parse(field("labels"), "the labels of $name").list.map { it.text }
            val width = manifest.embedDim
            if (file.shape("embeddings") != listOf(labels.size, width)) {
                throw BundleException(
                    "$name has ${labels.size} labels and embeddings of shape ${file.shape("embeddings")}, " +
                        "not [${labels.size}, $width]",
                )
            }
            val flat = file.floats("embeddings")
            return LabelPack(labels, labels.indices.map { unitLength(flat.copyOfRange(it * width, (it + 1) * width)) })
        }
    }
}

/** A vector scaled to length 1; a length below 1e-6 counts as 1e-6. */
internal fun unitLength(vector: FloatArray): FloatArray {
    val length = max(sqrt(vector.sumOf { it.toDouble() * it }), 1e-6)
    return FloatArray(vector.size) { (vector[it] / length).toFloat() }
}

internal fun dot(left: FloatArray, right: FloatArray): Float {
    var sum = 0f
    for (i in left.indices) sum += left[i] * right[i]
    return sum
}
