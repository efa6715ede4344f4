package samclip

import java.util.BitSet

/**
 * The connected pieces of some cells of a map [side,side], numbered by their first cells, row by row.
 *
 * With [diagonal], cells that share only a corner are connected too.
 */
internal class Pieces(private val inside: BitSet, private val side: Int, private val diagonal: Boolean) {
    private val numbers = IntArray(side * side) { NONE }

    /** How many cells each piece has. */
    val sizes: List<Int> = buildList {
        for (cell in numbers.indices) if (isNew(cell)) add(grow(cell, number = size))
    }

    /** The piece of a cell; -1 for none. */
    operator fun get(cell: Int): Int = numbers[cell]

    private fun isNew(cell: Int) = inside[cell] && numbers[cell] == NONE

    private fun grow(start: Int, number: Int): Int {
        val next = ArrayDeque(listOf(start))
        var size = 0
        while (next.isNotEmpty()) {
            val cell = next.removeLast()
            if (!isNew(cell)) continue
            numbers[cell] = number
            size++
            val x = cell % side
            val y = cell / side
            for (down in y - 1..y + 1) for (across in x - 1..x + 1) {
                val near = diagonal || down == y || across == x
                if (near && across in 0 until side && down in 0 until side) next += down * side + across
            }
        }
        return size
    }

    private companion object {
        const val NONE = -1
    }
}

/** The cells, of so many, that a rule chooses. */
internal inline fun cells(count: Int, chosen: (Int) -> Boolean): BitSet {
    val bits = BitSet(count)
    for (cell in 0 until count) if (chosen(cell)) bits.set(cell)
    return bits
}
