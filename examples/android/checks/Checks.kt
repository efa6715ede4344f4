package samclip.checks

/** Runs checks, prints one line for each, and counts those that fail. */
internal class Checks {
    var passed = 0
        private set
    var failed = 0
        private set

    /** A check that passes if nothing is thrown; what [block] returns is printed beside its name. */
    fun check(name: String, block: () -> Any?) {
        try {
            val note = block().takeIf { it is String } ?: ""
            passed++
            println("ok    $name $note".trimEnd())
        } catch (error: Throwable) { // Whatever a check throws, the others still run.
            failed++
            println("FAIL  $name: $error")
        }
    }

    /** A check that passes if [block] throws a [T] whose message holds every one of [words]. */
    inline fun <reified T : Throwable> refuses(name: String, vararg words: String, crossinline block: () -> Unit) =
        check("refuses $name") {
            val error = runCatching { block() }.exceptionOrNull() ?: error("nothing was thrown")
            if (error !is T) throw error
            val message = error.message.orEmpty()
            for (word in words) check(word in message) { "\"$message\" does not say \"$word\"" }
            check('\n' !in message) { "\"$message\" has several lines" }
            message
        }
}
