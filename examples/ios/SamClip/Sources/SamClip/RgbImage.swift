/// An image, upright: red, green and blue from 0 to 255, row by row.
public struct RgbImage: Sendable, Equatable {
    public let height: Int
    public let width: Int
    /// `height * width * 3` values.
    public let rgb: [UInt8]

    /// - Throws: `SamClipError.image` if it is empty, or `rgb` does not fill it.
    public init(rgb: [UInt8], height: Int, width: Int) throws {
        guard height > 0, width > 0 else {
            throw SamClipError.image("the image is empty: \(width) x \(height) pixels")
        }
        guard height * width > 1 else {
            throw SamClipError.image(
                "the image is a single pixel: there is nothing to find in it")
        }
        guard rgb.count == height * width * 3 else {
            throw SamClipError.image(
                "rgb has \(rgb.count) values; \(width) x \(height) pixels have \(height * width * 3)")
        }
        self.rgb = rgb
        self.height = height
        self.width = width
    }
}

/// A point in pixels of the upright image.
public struct Point: Sendable, Equatable {
    public var x: Double
    public var y: Double
    public var isForeground: Bool

    public init(x: Double, y: Double, isForeground: Bool = true) {
        self.x = x
        self.y = y
        self.isForeground = isForeground
    }
}

/// A box in pixels of the upright image; right and bottom are exclusive.
public struct Box: Sendable, Equatable {
    public var left: Double
    public var top: Double
    public var right: Double
    public var bottom: Double

    public init(left: Double, top: Double, right: Double, bottom: Double) {
        self.left = left
        self.top = top
        self.right = right
        self.bottom = bottom
    }
}

/// Where an image lies in the model's input: at the top left, scaled to fit.
public struct Frame: Sendable, Equatable {
    public let height: Int
    public let width: Int
    public let resolution: Int
    /// Rows and columns of the model's input that the image fills.
    public let rows: Int
    public let columns: Int

    public init(height: Int, width: Int, resolution: Int) {
        self.height = height
        self.width = width
        self.resolution = resolution
        let scale = Double(resolution) / Double(max(height, width))
        rows = max(1, Int(Double(height) * scale + 0.5))
        columns = max(1, Int(Double(width) * scale + 0.5))
    }

    /// Cells of a map of side x side that hold any pixel of the image.
    package func covered(side: Int) -> (rows: Int, columns: Int) {
        let row = (rows * side + resolution - 1) / resolution
        let column = (columns * side + resolution - 1) / resolution
        return (row, column)
    }

    /// Pixels of the image to pixels of the model's input.
    package func toModel(x: Double, y: Double) -> [Float] {
        [
            Float(x * Double(columns) / Double(width)),
            Float(y * Double(rows) / Double(height)),
        ]
    }

    /// As `text_to_mask` takes it.
    package var extent: Tensor { Tensor([Float(rows), Float(columns)], shape: [2]) }

    /// As `clip_head` takes it: 1 for each patch that holds any pixel of the image.
    package func tokenMask(patchSize: Int) -> Tensor {
        let side = resolution / patchSize
        let cells = covered(side: side)
        var mask = [Float](repeating: 0, count: side * side)
        for row in 0..<cells.rows {
            for column in 0..<cells.columns { mask[row * side + column] = 1 }
        }
        return Tensor(mask, shape: [1, side, side])
    }
}
