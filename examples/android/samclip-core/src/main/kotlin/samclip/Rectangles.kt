package samclip

/*
 * An image in the model's square without the padding: a convolutional model need not compute that.
 *
 * The rules are those of `samclip_sdk/engine/rectangles.py`.
 */

/** The multiple of pixels that the sides of such an image have. */
private const val STEP = 32

/** The rows and columns of a map; a whole one has as many of both. */
internal data class Sides(val rows: Int, val columns: Int) {
    val square get() = rows == columns
}

/** The last two dimensions. */
internal val Tensor.sides: Sides get() = Sides(shape[shape.size - 2].toInt(), shape.last().toInt())

/** The rows and columns of the model's input that hold the image, in whole steps. */
internal fun coveredPixels(frame: Frame): Sides {
    val steps = frame.resolution / STEP
    return Sides(frame.coveredRows(steps) * STEP, frame.coveredColumns(steps) * STEP)
}

/** The upper left of maps [...,side,side]. */
internal fun upperLeft(maps: Tensor, kept: Sides): Tensor {
    val whole = maps.sides
    if (kept == whole) return maps
    val (rows, columns) = kept
    val shape = maps.shape.copyOf()
    shape[shape.size - 2] = rows.toLong()
    shape[shape.size - 1] = columns.toLong()
    val size = shape.fold(1L, Long::times).toInt()
    fun copy(from: Any, to: Any) {
        for (line in 0 until size / columns) {
            val start = (line / rows * whole.rows + line % rows) * whole.columns
            System.arraycopy(from, start, to, line * columns, columns)
        }
    }
    return when (maps) {
        is Tensor.F32 -> Tensor.F32(FloatArray(size).also { copy(maps.data, it) }, *shape)
        is Tensor.U8 -> Tensor.U8(ByteArray(size).also { copy(maps.data, it) }, *shape)
        is Tensor.I32 -> Tensor.I32(IntArray(size).also { copy(maps.data, it) }, *shape)
    }
}

/** Patches of some cells in the square [grid*grid], with zeros in the padding; those of a square stay. */
internal fun wholePatches(patches: List<FloatArray>, cells: Sides, grid: Int): List<FloatArray> {
    if (cells.square) return patches
    val padding = FloatArray(patches.first().size)
    return List(grid * grid) {
        val y = it / grid
        val x = it % grid
        if (y < cells.rows && x < cells.columns) patches[y * cells.columns + x] else padding
    }
}

/** Masks [...,h,w] in the square [...,side,side], whose padding repeats their last row and column. */
internal fun wholeMasks(masks: Tensor.F32, side: Int): Tensor.F32 {
    val (rows, columns) = masks.sides
    if (rows == side && columns == side) return masks
    val count = masks.data.size / (rows * columns)
    val data = FloatArray(count * side * side) {
        val y = minOf(it / side % side, rows - 1)
        val x = minOf(it % side, columns - 1)
        masks.data[(it / (side * side) * rows + y) * columns + x]
    }
    return Tensor.F32(data, *masks.shape.dropLast(2).toLongArray(), side.toLong(), side.toLong())
}
