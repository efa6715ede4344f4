package samclip

import kotlin.math.abs
import kotlin.math.max
import kotlin.math.sqrt

/**
 * Labels with their embeddings, so that an app needs no text encoder for them.
 *
 * The thresholds, 0..1, are the presences from which labels are in an image; null for the bundle's. What answers must
 * tell of the labels, since they are read as other words or not known, is [readAs]; null for nothing.
 */
internal class LabelPack private constructor(
    val labels: List<String>,
    val embeddings: List<FloatArray>,
    val thresholds: List<Float?>,
    val readAs: List<Reading?>,
) {
    companion object {
        /** Reads the content of a pack for a model; [name] stands for it in messages. */
        fun read(content: ByteArray, name: String, manifest: Manifest): LabelPack {
            val file = Safetensors.read(content, name)
            fun field(key: String) =
                file.metadata[key] ?: throw BundleException("$name is no label pack: it has no $key")
            if (field("format") != "samclip labels") throw BundleException("$name is no label pack: ${field("format")}")
            if (field("schema_version") != SCHEMA_VERSION) {
                throw BundleSchemaException(
                    "$name has schema_version ${field("schema_version")}; this reader knows $SCHEMA_VERSION: save it " +
                        "again with the model",
                )
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
            val rows = labels.indices.map { unitLength(flat.copyOfRange(it * width, (it + 1) * width)) }
            val thresholds = thresholds(file.metadata["thresholds"], labels.size, name)
            return LabelPack(labels, rows, thresholds, readAs(file.metadata["read_as"], labels.size, name))
        }

        /** What is [stored] is JSON; nothing is if no label has its own. */
        private fun thresholds(stored: String?, count: Int, name: String): List<Float?> {
            if (stored == null) return List(count) { null }
            val list = Json.parse(stored, "the thresholds of $name").list
            val found = list.map { if (it.isNull) null else it.number.toFloat() }
            if (found.size != count || found.any { it != null && it !in 0f..1f }) {
                throw BundleException(
                    "$name has the thresholds ${stored.take(60)}; it must have a number from 0 to 1, or null, for each " +
                        "of $count labels",
                )
            }
            return found
        }

        /** What is stored is JSON; nothing is if no label has something to tell. */
        private fun readAs(stored: String?, count: Int, name: String): List<Reading?> {
            if (stored == null) return List(count) { null }
            val found = Json.parse(stored, "read_as of $name").list.map { if (it.isNull) null else reading(it, name) }
            if (found.size != count) throw BundleException("read_as of $name has ${found.size} for $count labels")
            return found
        }

        private fun reading(stored: Json, name: String): Reading {
            val fields = stored.fields
            val cosine = fields["cosine"]?.takeUnless { it.isNull }?.number
            val kind = when (stored["kind"].text) {
                "read_as" -> Reading.Kind.READ_AS.takeIf { cosine == null }
                "unknown" -> Reading.Kind.UNKNOWN.takeIf { cosine != null && abs(cosine) <= MOST_COSINE }
                else -> null
            }
            val words = stored["words"].list.map { it.text }
            if (kind == null || words.isEmpty() || !FIELDS.containsAll(fields.keys)) {
                throw BundleException("read_as of $name has what is no reading of a label: save the pack again")
            }
            return Reading(kind, words, cosine?.toFloat())
        }

        private const val SCHEMA_VERSION = "2"
        private const val MOST_COSINE = 1.01 // of vectors whose length is 1 but for rounding
        private val FIELDS = setOf("kind", "words", "cosine")
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
