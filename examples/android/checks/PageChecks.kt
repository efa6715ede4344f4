package samclip.checks

import java.io.File
import samclip.SamClip
import tour

/** What the page on Android promises: its tour runs, and the files that the app brings are enough for the app. */
internal fun pageChecks(folder: File, share: File, checks: Checks) {
    val goldens = Goldens(folder)
    checks.check("the page's tour") {
        val rgbImage = goldens.rgbImage(goldens.part("text_to_mask").first()["image"].text)
        SamClip.load(folder, JniBackend).use { tour(it, rgbImage) }
    }
    checks.check("the app's files are enough for typed labels and for the nouns") {
        val rgbImage = goldens.rgbImage(goldens.part("text_to_mask").first()["image"].text)
        SamClip.load(share, JniBackend).use { model ->
            val image = model.encode(rgbImage)
            val typed = model.segmentText(image, listOf("a thing that no pack holds"), allowUnknown = true).single()
            val nouns = model.loadLabels("nouns.safetensors")
            val known = model.segmentText(image, nouns.take(20))
            check(known.map { it.label } == nouns.take(20)) { "the labels came back as ${known.map { it.label }}" }
            "presence %.3f".format(typed.presence)
        }
    }
}
