package samclip

/**
 * What a model takes a label for.
 *
 * The [words] are the taught words that answer for it, any of them; of an unknown label the nearest, and [cosine] is
 * that of the two. It is null for all others.
 */
data class Reading(val kind: Kind, val words: List<String>, val cosine: Float? = null) {
    enum class Kind {
        TAUGHT,

        /** A synonym, plural or spelling of a taught word. */
        SAME,

        /** Its kind, its head noun or its general word answers for it. */
        READ_AS,

        UNKNOWN,
    }

    /** Whether an answer must say it: the label is read as another word, or is not known. */
    internal val told: Boolean get() = kind == Kind.READ_AS || kind == Kind.UNKNOWN
}

/** A bundle's `words.json`: what texts mean among the taught words. `samclip_sdk/text/word_table.py` tells more. */
internal class WordTable(document: Json) {
    init {
        val version = document.find("schema_version")?.number ?: SCHEMA_VERSION
        if (version != SCHEMA_VERSION) {
            throw BundleSchemaException(
                "the table of words has schema_version ${version.toInt()}; this reader knows " +
                    "${SCHEMA_VERSION.toInt()}: update samclip-core",
            )
        }
    }

    val same: Map<String, List<String>> = lists(document["same"])
    val readAs: Map<String, List<String>> = lists(document["read_as"])
    val anyOf: Map<String, List<String>> = lists(document["any_of"])
    val unknown: List<String> = texts(document["unknown"])
    val joints: Set<String> = texts(document["joints"]).toSet()
    val measures: Set<String> = texts(document["measures"]).toSet()
    val articles: Set<String> = texts(document["articles"]).toSet()

    private fun lists(field: Json) = field.fields.mapValues { texts(it.value) }

    private fun texts(field: Json) = field.list.map { it.text }

    companion object {
        private const val SCHEMA_VERSION = 1.0
        private const val MAX_BYTES = 4 shl 20

        /** Reads the content of a file; [name] stands for it in messages. */
        fun read(content: ByteArray, name: String): WordTable {
            if (content.size > MAX_BYTES) throw BundleException("$name has more than $MAX_BYTES bytes")
            return WordTable(Json.parse(content.decodeToString(), name))
        }
    }
}

/** Reads texts by a table, for a model that was taught [words]; targets that are not among them are left out. */
internal class WordReader(private val table: WordTable, words: List<String>) {
    private val words = LinkedHashSet(words)

    /** The spelling of each text in the table -> its reading; of two readings the first counts. No words: not known. */
    private val index = HashMap<String, Reading>()

    init {
        for (word in this.words) enter(word, Reading.Kind.SAME, listOf(word))
        for (text in table.unknown) enter(text, Reading.Kind.UNKNOWN, emptyList())
        for ((text, kinds) in table.anyOf) enter(text, Reading.Kind.READ_AS, kinds.filter { it in this.words })
        for ((kind, part) in listOf(Reading.Kind.SAME to table.same, Reading.Kind.READ_AS to table.readAs)) {
            for ((word, texts) in part) if (word in this.words) texts.forEach { enter(it, kind, listOf(word)) }
        }
    }

    /** Reads a clean text; null if it is not known. */
    fun read(text: String): Reading? {
        var parts = text.split(' ')
        var found = find(text)
        if (found == null && parts.size > 1 && parts.first() in table.articles) {
            parts = parts.drop(1)
            found = find(parts.joinToString(" "))
            if (found?.kind == Reading.Kind.TAUGHT) found = found.copy(kind = Reading.Kind.SAME)
        }
        return if (found == null) readHead(parts) else found.takeIf { it.words.isNotEmpty() }
    }

    /** Reads the longest end of what a text's parts name: its head noun is its last word. */
    private fun readHead(parts: List<String>): Reading? {
        val head = head(parts)
        val found = head.indices.firstNotNullOfOrNull { find(head.drop(it).joinToString(" ")) }
        return found?.takeIf { it.words.isNotEmpty() }?.copy(kind = Reading.Kind.READ_AS)
    }

    /** The parts before the first joint; after "of", if a measure stands before it. */
    private tailrec fun head(parts: List<String>): List<String> {
        val joint = parts.indices.firstOrNull { it > 0 && parts[it] in table.joints } ?: return parts
        val before = parts.take(joint)
        val after = parts.drop(joint + 1)
        val measured = (listOf(before.last()) + singulars(before.last())).any { it in table.measures }
        if (parts[joint] != "of" || after.isEmpty() || !measured) return before
        return head(if (after.first() in table.articles) after.drop(1) else after)
    }

    /** Looks a text up: as it is, in another spelling, in the singular. */
    private fun find(text: String): Reading? {
        if (text in words) return Reading(Reading.Kind.TAUGHT, listOf(text))
        return (listOf(text) + singulars(text)).firstNotNullOfOrNull { index[key(it)] }
    }

    private fun enter(text: String, kind: Reading.Kind, words: List<String>) {
        index.putIfAbsent(key(text), Reading(kind, words))
    }

    private companion object {
        /** A text without what spellings differ in: "t shirt", "t-shirt" and "tshirt" are one. */
        fun key(text: String): String = text.replace("-", "").replace(" ", "")

        /** What a text may be the plural of; most of them are no words, and so in no table. */
        fun singulars(text: String): List<String> {
            val short = text.codePointCount(0, text.length) <= 3
            if (short || !text.endsWith("s") || text.endsWith("ss")) return emptyList()
            return buildList {
                add(text.dropLast(1))
                if (text.endsWith("es")) add(text.dropLast(2))
                if (text.endsWith("ies")) add(text.dropLast(3) + "y")
                if (text.endsWith("ves")) {
                    add(text.dropLast(3) + "f")
                    add(text.dropLast(3) + "fe")
                }
            }
        }
    }
}
