package samclip.app

import android.Manifest.permission.CAMERA
import android.content.pm.PackageManager.PERMISSION_GRANTED
import android.graphics.Bitmap
import androidx.activity.compose.rememberLauncherForActivityResult
import androidx.activity.result.contract.ActivityResultContracts.RequestPermission
import androidx.camera.core.ImageCapture
import androidx.camera.core.ImageCaptureException
import androidx.camera.core.ImageProxy
import androidx.camera.view.CameraController
import androidx.camera.view.LifecycleCameraController
import androidx.camera.view.PreviewView
import androidx.compose.foundation.layout.Box
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.material3.Button
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.runtime.DisposableEffect
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.remember
import androidx.compose.runtime.setValue
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.platform.LocalContext
import androidx.compose.ui.viewinterop.AndroidView
import androidx.lifecycle.compose.LocalLifecycleOwner

/** The camera's preview, and a button that takes an image; first a button that asks for the permission. */
@Composable
fun CameraPane(onImage: (Bitmap) -> Unit, onProblem: (String) -> Unit, modifier: Modifier = Modifier) {
    val context = LocalContext.current
    var allowed by remember { mutableStateOf(context.checkSelfPermission(CAMERA) == PERMISSION_GRANTED) }
    val request = rememberLauncherForActivityResult(RequestPermission()) { allowed = it }
    Box(modifier) {
        if (allowed) {
            Viewfinder(onImage, onProblem)
        } else {
            Button(onClick = { request.launch(CAMERA) }, Modifier.align(Alignment.Center)) { Text("Use the camera") }
        }
    }
}

@Composable
private fun Viewfinder(onImage: (Bitmap) -> Unit, onProblem: (String) -> Unit) {
    val context = LocalContext.current
    val owner = LocalLifecycleOwner.current
    val camera = remember {
        LifecycleCameraController(context).apply { setEnabledUseCases(CameraController.IMAGE_CAPTURE) }
    }
    DisposableEffect(owner) {
        camera.bindToLifecycle(owner)
        onDispose { camera.unbind() }
    }
    Box(Modifier.fillMaxSize()) {
        AndroidView(factory = { PreviewView(it).apply { controller = camera } }, Modifier.fillMaxSize())
        Button(
            modifier = Modifier.align(Alignment.BottomCenter),
            onClick = {
                camera.takePicture(
                    context.mainExecutor,
                    object : ImageCapture.OnImageCapturedCallback() {
                        override fun onCaptureSuccess(image: ImageProxy) = onImage(image.toUprightBitmap())

                        override fun onError(exception: ImageCaptureException) =
                            onProblem("The camera took no image: ${exception.message}")
                    },
                )
            },
        ) { Text("Take") }
    }
}
