package samclip.app

import android.content.Context
import android.graphics.Bitmap
import android.graphics.ColorSpace
import android.graphics.ImageDecoder
import android.graphics.Matrix
import android.net.Uri
import androidx.camera.core.ImageProxy
import kotlin.math.max
import kotlin.math.min

private const val LONGEST_SIDE = 2048

/** A picked image in sRGB, upright as its EXIF tag says, at a whole fraction of its size if it is large. */
fun readImage(context: Context, uri: Uri): Bitmap =
    ImageDecoder.decodeBitmap(ImageDecoder.createSource(context.contentResolver, uri)) { decoder, info, _ ->
        decoder.allocator = ImageDecoder.ALLOCATOR_SOFTWARE
        decoder.setTargetColorSpace(ColorSpace.get(ColorSpace.Named.SRGB))
        decoder.setTargetSampleSize(max(1, max(info.size.width, info.size.height) / LONGEST_SIDE))
    }

/** A photograph, turned as the camera was held, no longer than 2,048 pixels. */
fun ImageProxy.toUprightBitmap(): Bitmap = use {
    val bitmap = toBitmap()
    val scale = min(1f, LONGEST_SIDE.toFloat() / max(bitmap.width, bitmap.height))
    val change = Matrix()
    change.postScale(scale, scale)
    change.postRotate(imageInfo.rotationDegrees.toFloat())
    Bitmap.createBitmap(bitmap, 0, 0, bitmap.width, bitmap.height, change, true)
}
