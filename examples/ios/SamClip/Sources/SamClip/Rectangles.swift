/// The multiple of pixels that the sides of an image without its padding have.
///
/// A convolutional model need not compute the padding to a square. The rules are those of
/// `samclip_sdk/engine/rectangles.py`.
private let step = 32

extension Frame {
    /// The rows and columns of the model's input that hold the image, in whole steps.
    package var coveredPixels: [Int] {
        let steps = covered(side: resolution / step)
        return [steps.rows * step, steps.columns * step]
    }
}

extension Tensor {
    /// The last two dimensions.
    package var sides: [Int] { Array(shape.suffix(2)) }

    /// The upper left of maps [...,side,side].
    package func upperLeft(_ sides: [Int]) -> Tensor { fitted(to: shape.dropLast(2) + sides) }

    /// Patches [1,h*w,E] in the square [1,grid*grid,E], with zeros in the padding; those of a square
    /// stay.
    package func wholePatches(cells: [Int], grid: Int) -> Tensor {
        if cells[0] == cells[1] { return self }
        let width = shape[2]
        let patches = Tensor(floats, shape: [1] + cells + [width])
        return Tensor(
            patches.fitted(to: [1, grid, grid, width]).floats, shape: [1, grid * grid, width])
    }

    /// Masks [...,h,w] in the square [...,side,side], whose padding repeats their last row and
    /// column.
    package func wholeMasks(side: Int) -> Tensor {
        if sides == [side, side] { return self }
        let (rows, columns, values) = (sides[0], sides[1], floats)
        var whole: [Float] = []
        for mask in 0..<(values.count / (rows * columns)) {
            for row in 0..<side {
                let start = (mask * rows + min(row, rows - 1)) * columns
                whole += values[start..<(start + columns)]
                whole += repeatElement(values[start + columns - 1], count: side - columns)
            }
        }
        return Tensor(whole, shape: shape.dropLast(2) + [side, side])
    }
}
