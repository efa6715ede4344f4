package samclip.checks

import java.io.File
import kotlin.system.exitProcess

/** Checks the core on the bundle in the folder that is given; 1 if any check fails. */
fun main(arguments: Array<String>) {
    val folder = File(arguments.single())
    val checks = Checks()
    jsonChecks(checks)
    textChecks(File(System.getProperty("samclip.clipTokenizer")), checks)
    GoldenChecks(folder, checks).run()
    ErrorChecks(folder, checks).run()
    println("${checks.passed} passed, ${checks.failed} failed")
    exitProcess(if (checks.failed == 0 && checks.passed > 0) 0 else 1)
}
