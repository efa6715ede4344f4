package samclip

/** A value of a JSON document, with its place in it for messages. */
internal class Json private constructor(private val value: Any?, private val place: String) {
    val text: String get() = value as? String ?: wrong("a text")
    val number: Double get() = value as? Double ?: wrong("a number")
    val int: Int get() = number.toInt().takeIf { it.toDouble() == number } ?: wrong("a whole number")
    val flag: Boolean get() = value as? Boolean ?: wrong("true or false")
    val isNull: Boolean get() = value == null
    val isText: Boolean get() = value is String

    val list: List<Json>
        get() = (value as? List<*> ?: wrong("a list")).mapIndexed { i, each -> Json(each, "$place[$i]") }

    val fields: Map<String, Json>
        get() = (value as? Map<*, *> ?: wrong("an object")).entries
            .associate { (key, each) -> key.toString() to Json(each, "$place.$key") }

    /** A field that must be there. */
    operator fun get(name: String): Json = find(name) ?: wrong("an object with the field \"$name\"")

    /** A field, or null where there is none. */
    fun find(name: String): Json? {
        val entries = value as? Map<*, *> ?: wrong("an object")
        return if (name in entries) Json(entries[name], "$place.$name") else null
    }

    private fun wrong(expected: String): Nothing = throw BundleException("$place is not $expected")

    companion object {
        /** Reads a document; [name] stands for it in messages. */
        fun parse(text: String, name: String): Json =
            try {
                Json(JsonReader(text).document(), name)
            } catch (error: IllegalArgumentException) {
                throw BundleException("$name is not JSON: ${error.message}", error)
            }
    }
}

/** Text -> String, Double, Boolean, null, List, and Map in the order of the text. */
private class JsonReader(private val text: String) {
    private var at = 0

    fun document(): Any? {
        val value = value(depth = 0)
        skipSpace()
        require(at == text.length) { "something follows its end at character $at" }
        return value
    }

    private fun value(depth: Int): Any? {
        require(depth < MAX_DEPTH) { "it is nested deeper than $MAX_DEPTH" }
        skipSpace()
        return when (peek()) {
            '{' -> entries(depth)
            '[' -> items(depth)
            '"' -> string()
            't' -> word("true", true)
            'f' -> word("false", false)
            'n' -> word("null", null)
            else -> number()
        }
    }

    private fun entries(depth: Int): Map<String, Any?> {
        val found = LinkedHashMap<String, Any?>()
        separated('}') {
            val name = string()
            skipSpace()
            expect(':')
            found[name] = value(depth + 1)
        }
        return found
    }

    private fun items(depth: Int): List<Any?> {
        val found = ArrayList<Any?>()
        separated(']') { found.add(value(depth + 1)) }
        return found
    }

    private fun separated(end: Char, item: () -> Unit) {
        at++
        skipSpace()
        if (peek() == end) {
            at++
            return
        }
        while (true) {
            skipSpace()
            item()
            skipSpace()
            if (peek() != ',') break
            at++
        }
        expect(end)
    }

    private fun string(): String {
        expect('"')
        val found = StringBuilder()
        while (true) {
            val letter = peek()
            at++
            when {
                letter == '"' -> return found.toString()
                letter == '\\' -> found.append(escaped())
                else -> found.append(letter)
            }
        }
    }

    private fun escaped(): Char {
        val letter = peek()
        at++
        return when (letter) {
            '"', '\\', '/' -> letter
            'b' -> '\b'
            'f' -> '\u000c'
            'n' -> '\n'
            'r' -> '\r'
            't' -> '\t'
            'u' -> {
                require(at + 4 <= text.length) { "it ends inside an escape" }
                text.substring(at, at + 4).toInt(16).toChar().also { at += 4 }
            }
            else -> throw IllegalArgumentException("\\$letter at character $at means nothing")
        }
    }

    private fun number(): Double {
        val start = at
        while (at < text.length && (text[at].isLetterOrDigit() || text[at] in "+-.")) at++
        return text.substring(start, at).toDoubleOrNull()
            ?: throw IllegalArgumentException("character $start begins no value")
    }

    private fun <T> word(word: String, value: T): T {
        require(text.startsWith(word, at)) { "character $at begins no value" }
        at += word.length
        return value
    }

    private fun expect(letter: Char) {
        require(peek() == letter) { "character $at is not $letter" }
        at++
    }

    private fun peek(): Char {
        require(at < text.length) { "it ends too early" }
        return text[at]
    }

    private fun skipSpace() {
        while (at < text.length && text[at] in " \t\r\n") at++
    }

    private companion object {
        const val MAX_DEPTH = 64
    }
}
