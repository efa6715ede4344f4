/// Which pixels of an image belong to something.
public struct Mask: Sendable, Equatable {
    public let height: Int
    public let width: Int
    /// `height * width` values, row by row.
    public let pixels: [Bool]

    package init(pixels: [Bool], height: Int, width: Int) {
        self.pixels = pixels
        self.height = height
        self.width = width
    }

    /// A mask without a pixel.
    package static func empty(_ frame: Frame) -> Mask {
        Mask(
            pixels: [Bool](repeating: false, count: frame.height * frame.width),
            height: frame.height, width: frame.width)
    }

    public subscript(row: Int, column: Int) -> Bool { pixels[row * width + column] }

    /// How many pixels it has.
    public var area: Int { count(pixels) }

    /// The tight box around its pixels; none for an empty mask.
    public var box: Box? {
        var (top, bottom, left, right) = (height, 0, width, 0)
        for row in 0..<height {
            let line = pixels[(row * width)..<((row + 1) * width)]
            guard let first = line.firstIndex(of: true), let last = line.lastIndex(of: true)
            else { continue }
            top = min(top, row)
            bottom = row + 1
            left = min(left, first - row * width)
            right = max(right, last - row * width + 1)
        }
        if bottom == 0 { return nil }
        return Box(
            left: Double(left), top: Double(top), right: Double(right), bottom: Double(bottom))
    }

    /// Brings logits [S,S] of the model's frame to the image, and thresholds them there.
    package init(logits: ArraySlice<Float>, frame: Frame, threshold: Float) {
        var pixels = [Bool](repeating: false, count: frame.height * frame.width)
        upscale(logits, to: frame, above: threshold) { pixels[$0] = $1 > threshold }
        self.init(pixels: pixels, height: frame.height, width: frame.width)
    }
}

/// Brings logits [S,S] of the model's frame to the image: `visit` is given the place and logit of
/// every pixel, but for rows without one above a threshold.
@inline(__always)
func upscale(
    _ logits: ArraySlice<Float>, to frame: Frame, above threshold: Float,
    visit: (Int, Float) -> Void
) {
    let rows = Taps(from: frame.rows, to: frame.height)
    let columns = Taps(from: frame.columns, to: frame.width)
    var line = [Float](repeating: 0, count: frame.columns)
    let start = logits.startIndex
    for row in 0..<frame.height {
        let low = start + rows.low[row] * frame.resolution
        let high = start + rows.high[row] * frame.resolution
        let weight = rows.weight[row]
        var highest = -Float.infinity
        for column in 0..<frame.columns {
            let value = logits[low + column]
            line[column] = value + weight * (logits[high + column] - value)
            highest = max(highest, line[column])
        }
        if highest <= threshold { continue }
        for column in 0..<frame.width {
            let value = line[columns.low[column]]
            let step = columns.weight[column] * (line[columns.high[column]] - value)
            visit(row * frame.width + column, value + step)
        }
    }
}

/// Scales a square map bilinearly, with half-pixel centres and without antialiasing.
package func scaled(_ map: [Float], side: Int, to target: Int) -> [Float] {
    let taps = Taps(from: side, to: target)
    var result = [Float](repeating: 0, count: target * target)
    var line = [Float](repeating: 0, count: side)
    for row in 0..<target {
        let low = taps.low[row] * side
        let high = taps.high[row] * side
        for column in 0..<side {
            let value = map[low + column]
            line[column] = value + taps.weight[row] * (map[high + column] - value)
        }
        for column in 0..<target {
            let value = line[taps.low[column]]
            let step = taps.weight[column] * (line[taps.high[column]] - value)
            result[row * target + column] = value + step
        }
    }
    return result
}

/// For each pixel of an axis the two pixels of another length that it lies between.
private struct Taps {
    var low: [Int] = []
    var high: [Int] = []
    var weight: [Float] = []

    init(from source: Int, to target: Int) {
        let scale = Double(source) / Double(target)
        for pixel in 0..<target {
            let centre = max(0, (Double(pixel) + 0.5) * scale - 0.5)
            let first = min(Int(centre), source - 1)
            low.append(first)
            high.append(min(first + 1, source - 1))
            weight.append(Float(centre - Double(first)))
        }
    }
}
