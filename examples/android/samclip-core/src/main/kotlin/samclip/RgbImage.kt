package samclip

import kotlin.math.max

/** An upright RGB image: [rgb] holds height x width x 3 bytes, row by row. */
class RgbImage(val width: Int, val height: Int, val rgb: ByteArray) {
    init {
        if (width < 1 || height < 1) throw ImageException("the image is empty: $width x $height pixels")
        val bytes = 3L * width * height
        if (rgb.size.toLong() != bytes) {
            throw ImageException("an image of $width x $height pixels has $bytes bytes, not ${rgb.size}")
        }
    }
}

/** Where an image lies in the model's square input: at the top left, scaled to fit. */
class Frame(val width: Int, val height: Int, val resolution: Int) {
    private val scale = resolution.toDouble() / max(height, width)

    /** Rows of the input that the image fills. */
    val rows: Int = max(1, (height * scale + 0.5).toInt())

    /** Columns of the input that the image fills. */
    val columns: Int = max(1, (width * scale + 0.5).toInt())

    /** Rows that hold any pixel of the image, in a map of side x side over the input. */
    fun coveredRows(side: Int): Int = (rows * side + resolution - 1) / resolution

    /** Columns that hold any pixel of the image, in a map of side x side over the input. */
    fun coveredColumns(side: Int): Int = (columns * side + resolution - 1) / resolution

    fun toModelX(x: Float): Float = (x.toDouble() * columns / width).toFloat()

    fun toModelY(y: Float): Float = (y.toDouble() * rows / height).toFloat()

    internal fun extent() = Tensor.F32(floatArrayOf(rows.toFloat(), columns.toFloat()), 2)

    internal fun tokenMask(patchSize: Int): Tensor.F32 {
        val side = resolution / patchSize
        val mask = FloatArray(side * side) { i ->
            if (i / side < coveredRows(side) && i % side < coveredColumns(side)) 1f else 0f
        }
        return Tensor.F32(mask, 1, side.toLong(), side.toLong())
    }
}
