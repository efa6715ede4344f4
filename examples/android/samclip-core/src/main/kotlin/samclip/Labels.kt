package samclip

/** What a pack gave a label: a threshold is null for the bundle's, and a reading is what answers must tell. */
private class GivenLabel(val embedding: FloatArray, val threshold: Float?, val readAs: Reading?)

/**
 * A label as an image is asked for it: it is there if any of [texts] is, the embeddings of the words that answer for
 * it, and from the presence [threshold] on. [readAs] is what an answer must tell of it, or null.
 */
internal class AskedLabel(
    val label: String,
    val readAs: Reading?,
    val texts: List<FloatArray>,
    val threshold: Float,
)

/**
 * Labels: what the model takes each for, and the embeddings that answer for it, each computed once.
 *
 * The rules are those of `samclip_sdk/engine/texts.py`.
 */
internal class Labels(private val bundle: Bundle, private val embedText: (List<String>) -> List<FloatArray>) {
    private val given = HashMap<String, GivenLabel>()
    private val computed = HashMap<String, FloatArray>()
    private val manifest get() = bundle.manifest

    /** The words that the model was taught; null if the bundle does not tell, or the app did not bring them. */
    val known: KnownWords? by lazy {
        if (!bundle.has(NOUNS)) return@lazy null
        val pack = LabelPack.read(bundle.read(NOUNS), NOUNS, manifest)
        KnownWords(pack.labels, pack.embeddings, pack.thresholds)
    }

    private val reader: WordReader? by lazy {
        val words = known?.words
        if (words == null || !bundle.has(WORDS)) null else WordReader(WordTable.read(bundle.read(WORDS), WORDS), words)
    }

    /** Takes the labels of a pack, which then need no text encoder. */
    fun learn(pack: LabelPack) = pack.labels.map(::cleanText).forEachIndexed { place, label ->
        given[label] = GivenLabel(pack.embeddings[place], pack.thresholds[place], pack.readAs[place])
    }

    /** What the model takes each label for; none if it does not tell its words: then each text speaks for itself. */
    fun read(labels: List<String>): Map<String, Reading> {
        val readings = LinkedHashMap<String, Reading>()
        for ((label, name) in labels.zip(checkLabels(labels))) reading(label, name)?.let { readings[label] = it }
        return readings
    }

    /** Labels as they are read. A [threshold] is that of all; else one that is not known is never there. */
    fun ask(labels: List<String>, threshold: Float? = null, allowUnknown: Boolean = false): List<AskedLabel> =
        labels.zip(checkLabels(labels)) { label, name ->
            val reading = reading(label, name)
            val words = words(name, reading)
            val never = reading?.kind == Reading.Kind.UNKNOWN && !allowUnknown
            val own = threshold ?: if (never) NEVER else ownThreshold(words) ?: manifest.calibration.presenceThreshold
            AskedLabel(label, reading?.takeIf { it.told }, words.map(::own), own)
        }

    /** One embedding for each label, of the word that it is read as. */
    fun single(labels: List<String>): List<FloatArray> = ask(labels).map {
        it.texts.singleOrNull() ?: throw TextException(
            "\"${it.label}\" is any of ${it.readAs?.words?.joinToString()}, and has no embedding of its own: " +
                "give these labels",
        )
    }

    /** A clean label's own embedding, whatever it is read as: what a pack gave, or the text encoder's. */
    fun own(name: String): FloatArray = given[name]?.embedding ?: computed.getOrPut(name) {
        if (!bundle.hasGraph("text_encoder")) {
            throw BundleException("no pack holds \"$name\", and the bundle has no text_encoder: load a pack with it")
        }
        val rows = embedText(manifest.templates.map { it.replace("{}", name) })
        unitLength(FloatArray(manifest.embedDim) { at -> rows.map { it[at] }.average().toFloat() })
    }

    private fun reading(label: String, name: String): Reading? {
        given[name]?.let { return it.readAs ?: Reading(Reading.Kind.TAUGHT, listOf(label)) }
        val reader = reader ?: return null
        return reader.read(name) ?: known?.unknown(own(name))
    }

    /** The clean words whose embeddings answer for a label, or the label for itself. */
    private fun words(name: String, reading: Reading?): List<String> =
        if (reading == null || reading.kind == Reading.Kind.UNKNOWN || name in given) listOf(name)
        else reading.words.map(::cleanText)

    /** Of several words that answer for a label the highest threshold counts; null if none has its own. */
    private fun ownThreshold(words: List<String>): Float? {
        val own = words.map { if (it in given) given.getValue(it).threshold else known?.ownThresholds?.get(it) }
        return own.filterNotNull().maxOrNull()
    }

    companion object {
        private const val NOUNS = "nouns.safetensors"
        private const val WORDS = "words.json"

        /** The threshold of a label that is not known: no presence reaches it. */
        private const val NEVER = 2f

        /** The texts as CLIP cleans them. */
        fun checkTexts(texts: List<String>): List<String> {
            if (texts.isEmpty()) throw TextException("there is no text: give at least one label")
            return texts.mapIndexed { place, text ->
                cleanText(text).ifEmpty { throw TextException("text $place is empty: leave it out") }
            }
        }

        /** The labels as CLIP cleans them; each names a class of its own. */
        fun checkLabels(labels: List<String>): List<String> {
            val cleaned = checkTexts(labels)
            cleaned.forEachIndexed { place, each ->
                val label = labels[place]
                if (',' in label) throw TextException("the label \"$label\" has a comma: give a label for each word")
                val first = cleaned.indexOf(each)
                if (first != place) {
                    throw TextException("\"${labels[first]}\" and \"$label\" are the same label: leave one out")
                }
            }
            return cleaned
        }
    }
}
