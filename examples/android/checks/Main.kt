package samclip.checks

import java.io.File
import kotlin.system.exitProcess

/**
 * Checks the core; 1 if any check fails.
 *
 * Given are the folder of a bundle, and one with those of its files that the app brings.
 */
fun main(arguments: Array<String>) {
    val (folder, share) = arguments.map(::File)
    val checks = Checks()
    jsonChecks(checks)
    textChecks(File(System.getProperty("samclip.clipTokenizer")), checks)
    bucketChecks(checks)
    rectangleChecks(folder, checks)
    fileChecks(checks)
    val goldens = GoldenChecks(folder, JniBackend, checks)
    goldens.run(lower = listOf("fp16", "int8"))
    goldens.textToMaskByParts()
    LabelChecks(folder, File(System.getProperty("samclip.labelCases")), checks).run()
    ObjectChecks(folder, File(System.getProperty("samclip.objectCases")), checks).run()
    ErrorChecks(folder, checks).run()
    pageChecks(folder, share, checks)
    System.getProperty("samclip.litertBundle")?.let { litertChecks(File(it), checks) }
    println("${checks.passed} passed, ${checks.failed} failed")
    exitProcess(if (checks.failed == 0 && checks.passed > 0) 0 else 1)
}
