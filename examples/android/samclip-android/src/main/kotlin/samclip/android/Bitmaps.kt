package samclip.android

import android.graphics.Bitmap
import samclip.ImageException
import samclip.Mask
import samclip.RgbImage

/** The pixels of an upright bitmap; one in the GPU's memory (HARDWARE) is copied first. */
fun Bitmap.toRgbImage(): RgbImage {
    val readable = if (config == Bitmap.Config.ARGB_8888) this else copy(Bitmap.Config.ARGB_8888, false)
        ?: throw ImageException("a bitmap of $width x $height pixels cannot be copied: decode a smaller one")
    val row = IntArray(width)
    val rgb = ByteArray(3 * width * height)
    for (y in 0 until height) {
        readable.getPixels(row, 0, width, 0, y, width, 1)
        row.forEachIndexed { x, colour ->
            val at = 3 * (y * width + x)
            rgb[at] = (colour shr 16).toByte()
            rgb[at + 1] = (colour shr 8).toByte()
            rgb[at + 2] = colour.toByte()
        }
    }
    return RgbImage(width, height, rgb)
}

/** A bitmap of the mask's size to draw over the image: [colour] (ARGB) where the mask is, else transparent. */
fun Mask.toBitmap(colour: Int): Bitmap {
    val bitmap = Bitmap.createBitmap(width, height, Bitmap.Config.ARGB_8888)
    val row = IntArray(width)
    for (y in 0 until height) {
        for (x in 0 until width) row[x] = if (this[x, y]) colour else 0
        bitmap.setPixels(row, 0, width, 0, y, width, 1)
    }
    return bitmap
}
