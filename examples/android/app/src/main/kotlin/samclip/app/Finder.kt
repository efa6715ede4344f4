package samclip.app

import android.content.Context
import android.graphics.Bitmap
import samclip.EncodedImage
import samclip.SamClip
import samclip.TextMask
import samclip.android.bundleFolder
import samclip.android.toRgbImage
import samclip.onnxruntime.OrtBackend

class Finder(context: Context) {
    private val model by lazy { SamClip.load(bundleFolder(context, "samclip-mobile"), OrtBackend()) }

    fun see(bitmap: Bitmap): EncodedImage = model.encode(bitmap.toRgbImage())

    fun find(image: EncodedImage, labels: List<String>): List<TextMask> = model.segmentText(image, labels)
}
