/// K prompts as the prompt encoder takes them: P tokens each, in pixels of the model's input.
struct Prompts: Sendable {
    private static let padding: Int32 = -1
    /// What the logits of a box's mask are at most, where they are outside the box.
    private static let outside: Float = -10
    /// The side of a value of the decoder's masks, in the model's pixels.
    private static let valuePixels: Float = 4

    private var coords: [Float] = []
    private var labels: [Int32] = []
    private var count = 0
    private var masks: [Float]?

    /// One prompt of a label, in the model's frame: points, a box, and its scores as a mask.
    init(points: [[Float]], corners: [[Float]], map: [Float]) {
        coords = (points + corners).flatMap { $0 }
        labels = [Int32](repeating: 1, count: points.count) + [2, 3]
        count = 1
        masks = map
    }

    /// A prompt for each candidate of a label.
    init(_ candidates: [Candidate]) {
        coords = candidates.flatMap { ([$0.point] + $0.corners).flatMap { $0 } }
        labels = candidates.flatMap { _ in [1, 2, 3] }
        count = candidates.count
        masks = candidates.flatMap(\.map)
    }

    /// One prompt of points, one for each box, or one of points and a box.
    ///
    /// SAM adds exactly one padding token where points come without a box.
    init(points: [Point], boxes: [Box], frame: Frame) throws {
        if points.isEmpty && boxes.isEmpty {
            throw SamClipError.prompt("nothing to segment: give points or boxes")
        }
        if !points.isEmpty && boxes.count > 1 {
            throw SamClipError.prompt(
                "points go with one box, not with \(boxes.count): ask once for each box")
        }
        for point in points {
            try Self.check(point, in: frame)
            coords += frame.toModel(x: point.x, y: point.y)
            labels.append(point.isForeground ? 1 : 0)
        }
        for box in boxes {
            let inside = try Self.cut(box, to: frame)
            coords += frame.toModel(x: inside.left, y: inside.top)
            coords += frame.toModel(x: inside.right, y: inside.bottom)
            labels += [2, 3]
        }
        if boxes.isEmpty {
            coords += [0, 0]
            labels.append(Self.padding)
        }
        count = max(1, boxes.count)
    }

    /// The prompt encoder's inputs, of at most `size` prompts at a time.
    func batches(of size: Int, maskSide: Int) -> [[String: Tensor]] {
        let tokens = labels.count / count
        let area = maskSide * maskSide
        return stride(from: 0, to: count, by: max(size, 1)).map { start in
            let rows = start..<min(start + max(size, 1), count)
            let mask = masks ?? [Float](repeating: 0, count: area * count)
            let has = [Float](repeating: masks == nil ? 0 : 1, count: rows.count)
            return [
                "point_coords": Tensor(coords, shape: [count, tokens, 2]).rows(rows),
                "point_labels": Tensor(labels, shape: [count, tokens]).rows(rows),
                "mask_input": Tensor(mask, shape: [count, 1, maskSide, maskSide]).rows(rows),
                "has_mask_input": Tensor(has, shape: [rows.count]),
            ]
        }
    }

    /// Masks [K,4,4g,4g] whose logits are lowered outside each prompt's box, if it has one.
    ///
    /// The box is grown by a share of its sides, `margin`; a value that it touches is inside.
    func keptInBoxes(_ lowRes: Tensor, margin: Float) -> Tensor {
        let (tokens, side) = (labels.count / count, lowRes.shape[3])
        let each = lowRes.shape[1] * side * side
        var logits = lowRes.floats
        for prompt in 0..<count {
            let own = labels[(prompt * tokens)..<((prompt + 1) * tokens)]
            guard let first = own.firstIndex(of: 2), let second = own.firstIndex(of: 3) else {
                continue
            }
            let ranges = (0..<2).map { axis in
                let (low, high) = (coords[2 * first + axis], coords[2 * second + axis])
                let grown = margin * (high - low)
                let start = ((low - grown) / Self.valuePixels).rounded(.down)
                return Int(start)..<Int(((high + grown) / Self.valuePixels).rounded(.up))
            }
            for at in (prompt * each)..<((prompt + 1) * each)
            where !ranges[0].contains(at % side) || !ranges[1].contains(at / side % side) {
                logits[at] = min(logits[at], Self.outside)
            }
        }
        return Tensor(logits, shape: lowRes.shape)
    }

    private static func check(_ point: Point, in frame: Frame) throws {
        let (width, height) = (Double(frame.width), Double(frame.height))
        guard (0..<width).contains(point.x), (0..<height).contains(point.y) else {
            throw SamClipError.prompt(
                "point (\(point.x), \(point.y)) is outside the image of \(frame.width) x "
                    + "\(frame.height) pixels")
        }
    }

    /// A box, without what of it is outside the image.
    private static func cut(_ box: Box, to frame: Frame) throws -> Box {
        let (width, height) = (Double(frame.width), Double(frame.height))
        let inside = Box(
            left: max(box.left, 0), top: max(box.top, 0),
            right: min(box.right, width), bottom: min(box.bottom, height))
        let edges = "[\(box.left), \(box.top), \(box.right), \(box.bottom)]"
        guard box.left < box.right, box.top < box.bottom else {
            throw SamClipError.prompt(
                "box \(edges) is empty or reversed; left is before right, top before bottom")
        }
        guard inside.left < inside.right, inside.top < inside.bottom else {
            throw SamClipError.prompt(
                "box \(edges) is outside the image of \(frame.width) x \(frame.height) pixels")
        }
        return inside
    }
}
