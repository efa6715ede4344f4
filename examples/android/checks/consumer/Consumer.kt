import java.io.File
import samclip.Backend
import samclip.SamClip

/** A program of somebody who has the published artifact alone; what it asks needs no runtime. */
fun main(arguments: Array<String>) {
    val none = Backend { _, _ -> error("no graph is needed for this") }
    SamClip.load(File(arguments.single()), none).use { model ->
        val noun = model.loadLabels("nouns.safetensors").first()
        check(model.nearestWords(noun).first().word == noun && noun in model.words)
        println("a program against the Maven artifact read ${model.words.size} words of the bundle")
    }
}
