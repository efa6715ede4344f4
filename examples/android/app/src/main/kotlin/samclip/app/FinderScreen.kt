package samclip.app

import android.graphics.Bitmap
import androidx.activity.compose.rememberLauncherForActivityResult
import androidx.activity.result.PickVisualMediaRequest
import androidx.activity.result.contract.ActivityResultContracts.PickVisualMedia
import androidx.compose.foundation.Image
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Box
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.layout.safeDrawingPadding
import androidx.compose.material3.Button
import androidx.compose.material3.OutlinedTextField
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.remember
import androidx.compose.runtime.rememberCoroutineScope
import androidx.compose.runtime.setValue
import androidx.compose.ui.Modifier
import androidx.compose.ui.graphics.asImageBitmap
import androidx.compose.ui.platform.LocalContext
import androidx.compose.ui.unit.dp
import kotlin.time.measureTimedValue
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import samclip.Reading
import samclip.SamClipException
import samclip.TextMask
import samclip.android.toBitmap

private val COLOURS = listOf(0x99e6194b, 0x993cb44b, 0x994363d8, 0x99ffe119, 0x99f58231, 0x99911eb4).map { it.toInt() }

/** What is drawn over the image, and what is said below it. */
private class Answer(val overlays: List<Bitmap>, val text: String)

/** An image of the camera or of the gallery, a field for labels, and the masks of what is found. */
@Composable
fun FinderScreen(finder: Finder) {
    val context = LocalContext.current
    val scope = rememberCoroutineScope()
    var photo by remember { mutableStateOf<Bitmap?>(null) }
    var labels by remember { mutableStateOf("dog, cat, person") }
    var answer by remember { mutableStateOf(Answer(emptyList(), "")) }

    fun show(bitmap: Bitmap) {
        photo = bitmap
        answer = Answer(emptyList(), "")
    }
    val pick = rememberLauncherForActivityResult(PickVisualMedia()) { uri ->
        if (uri != null) scope.launch { show(withContext(Dispatchers.IO) { readImage(context, uri) }) }
    }

    Column(Modifier.fillMaxSize().safeDrawingPadding().padding(12.dp), Arrangement.spacedBy(8.dp)) {
        Box(Modifier.weight(1f).fillMaxWidth()) {
            val shown = photo
            if (shown == null) {
                CameraPane(::show, onProblem = { answer = Answer(emptyList(), it) }, Modifier.fillMaxSize())
            }
            for (layer in listOfNotNull(shown) + answer.overlays) {
                Image(layer.asImageBitmap(), contentDescription = null, Modifier.fillMaxSize())
            }
        }
        OutlinedTextField(labels, onValueChange = { labels = it }, Modifier.fillMaxWidth(), label = { Text("Labels") })
        Row(horizontalArrangement = Arrangement.spacedBy(8.dp)) {
            Button(onClick = { pick.launch(PickVisualMediaRequest(PickVisualMedia.ImageOnly)) }) { Text("Pick") }
            Button(onClick = { photo = null; answer = Answer(emptyList(), "") }) { Text("Camera") }
            Button(
                enabled = photo != null,
                onClick = {
                    val asked = photo ?: return@Button
                    answer = Answer(emptyList(), "Looking ...")
                    scope.launch { answer = withContext(Dispatchers.Default) { ask(finder, asked, labels) } }
                },
            ) { Text("Find") }
        }
        Text(answer.text)
    }
}

/** Asks for the labels between commas, and says how long it took. */
private fun ask(finder: Finder, photo: Bitmap, labels: String): Answer {
    val names = labels.split(',').map { it.trim() }.filter { it.isNotEmpty() }
    return try {
        val (image, seeing) = measureTimedValue { finder.see(photo) }
        val (found, finding) = measureTimedValue { finder.find(image, names) }
        val times = "image ${seeing.inWholeMilliseconds} ms, labels ${finding.inWholeMilliseconds} ms"
        Answer(overlays(found), found.joinToString("\n", postfix = "\n$times") { describe(it) })
    } catch (error: SamClipException) {
        Answer(emptyList(), error.message.orEmpty())
    }
}

private fun overlays(found: List<TextMask>): List<Bitmap> = found.mapIndexedNotNull { place, each ->
    if (each.present) each.mask.toBitmap(COLOURS[place % COLOURS.size]) else null
}

private fun describe(found: TextMask): String {
    val share = 100f * found.mask.area / (found.mask.width * found.mask.height)
    val said =
        if (found.present) "%s: %.0f %% of the image".format(found.label, share) else "${found.label}: not there"
    val reading = found.readAs ?: return said
    val words = reading.words.joinToString(" or ")
    val unknown = reading.kind == Reading.Kind.UNKNOWN
    return if (unknown) "$said; not known, the nearest word is $words" else "$said; read as $words"
}
