/// An image in the model's input, as Pillow's `BILINEAR` gives it.
///
/// Two passes of fixed-point weights, rows first; each rounds to 8 bits. Some versions of Pillow
/// begin with the columns of tall images, which may differ by one level.
package enum Letterbox {
    /// uint8 [1,3,S,S].
    package static func image(_ rgbImage: RgbImage, frame: Frame, padColour: [UInt8]) -> Tensor {
        let wide = resizedRows(rgbImage, columns: frame.columns)
        let resized = resizedColumns(
            wide, height: rgbImage.height, columns: frame.columns, rows: frame.rows)
        let side = frame.resolution
        var planes = [UInt8](repeating: 0, count: 3 * side * side)
        for channel in 0..<3 {
            for row in 0..<side {
                let target = (channel * side + row) * side
                let filled = row < frame.rows ? frame.columns : 0
                var source = row * frame.columns * 3 + channel
                for column in 0..<filled {
                    planes[target + column] = resized[source]
                    source += 3
                }
                for column in filled..<side { planes[target + column] = padColour[channel] }
            }
        }
        return Tensor(planes, shape: [1, 3, side, side])
    }

    private static func resizedRows(_ rgbImage: RgbImage, columns: Int) -> [UInt8] {
        let (height, width) = (rgbImage.height, rgbImage.width)
        if columns == width { return rgbImage.rgb }
        let kernel = Kernel(from: width, to: columns)
        return [UInt8](unsafeUninitializedCapacity: height * columns * 3) { result, count in
            rgbImage.rgb.withUnsafeBufferPointer { rgb in
                for row in 0..<height {
                    for column in 0..<columns {
                        let first = (row * width + kernel.first[column]) * 3
                        let weights = column * kernel.stride
                        var (red, green, blue) = (Kernel.half, Kernel.half, Kernel.half)
                        for tap in 0..<kernel.count[column] {
                            let weight = kernel.weights[weights + tap]
                            let pixel = first + 3 * tap
                            red &+= Int32(rgb[pixel]) &* weight
                            green &+= Int32(rgb[pixel + 1]) &* weight
                            blue &+= Int32(rgb[pixel + 2]) &* weight
                        }
                        let target = (row * columns + column) * 3
                        result[target] = Kernel.rounded(red)
                        result[target + 1] = Kernel.rounded(green)
                        result[target + 2] = Kernel.rounded(blue)
                    }
                }
            }
            count = height * columns * 3
        }
    }

    private static func resizedColumns(
        _ pixels: [UInt8], height: Int, columns: Int, rows: Int
    ) -> [UInt8] {
        if rows == height { return pixels }
        let kernel = Kernel(from: height, to: rows)
        let line = columns * 3
        var sums = [Int32](repeating: 0, count: line)
        return [UInt8](unsafeUninitializedCapacity: rows * line) { result, count in
            pixels.withUnsafeBufferPointer { pixels in
                for row in 0..<rows {
                    for index in 0..<line { sums[index] = Kernel.half }
                    for tap in 0..<kernel.count[row] {
                        let weight = kernel.weights[row * kernel.stride + tap]
                        let source = (kernel.first[row] + tap) * line
                        for index in 0..<line {
                            sums[index] &+= Int32(pixels[source + index]) &* weight
                        }
                    }
                    for index in 0..<line {
                        result[row * line + index] = Kernel.rounded(sums[index])
                    }
                }
            }
            count = rows * line
        }
    }
}

/// Which pixels of an axis make each pixel of another length, and with which weights.
private struct Kernel {
    private static let bits: Int32 = 22
    static let half: Int32 = 1 << (bits - 1)

    var first: [Int] = []
    var count: [Int] = []
    var weights: [Int32]
    let stride: Int

    static func rounded(_ sum: Int32) -> UInt8 { UInt8(clamping: sum >> bits) }

    init(from source: Int, to target: Int) {
        let scale = Double(source) / Double(target)
        let support = max(scale, 1)
        let inverse = 1 / support
        stride = Int(support.rounded(.up)) * 2 + 1
        weights = Array(repeating: 0, count: target * stride)
        for pixel in 0..<target {
            let centre = (Double(pixel) + 0.5) * scale
            let low = max(0, Int(centre - support + 0.5))
            let high = min(source, Int(centre + support + 0.5))
            let taps = (low..<high).map { tap -> Double in
                let distance = abs((Double(tap) - centre + 0.5) * inverse)
                return max(0, 1 - distance)
            }
            let sum = taps.reduce(0, +)
            for (place, tap) in taps.enumerated() {
                let share = tap / sum * Double(1 << Self.bits)
                weights[pixel * stride + place] = Int32(share + 0.5)
            }
            first.append(low)
            count.append(high - low)
        }
    }
}
