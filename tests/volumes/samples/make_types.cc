// Makes types.vdb and types_stream.vdb, and what OpenVDB finds in them: a grid of every type that its Python
// bindings cannot make, one of a type that we step over, and an instance. Needs libopenvdb-dev 10:
//     g++ -std=c++17 make_types.cc -o make_types -lopenvdb -ltbb -lImath && ./make_types
// gzip -9 makes the files small enough to be kept.
#include <fstream>
#include <openvdb/io/Stream.h>
#include <openvdb/openvdb.h>
#include <random>
using namespace openvdb;

template <class G, class F> typename G::Ptr make(const char* name, typename G::ValueType background, F value)
{
    auto grid = G::create(background);
    grid->setName(name);
    grid->setTransform(math::Transform::createLinearTransform(0.25));
    auto accessor = grid->getAccessor();
    std::mt19937 random(1);
    for (int i = 0; i < 200; i++) {
        Coord at(int(random() % 24) - 9, int(random() % 12) - 5, int(random() % 16));
        if (i % 8) accessor.setValueOn(at, value(i));
        else accessor.setValueOff(at, value(i));
    }
    grid->tree().addTile(1, Coord(256, 0, 0), value(7), true);
    grid->tree().addTile(1, Coord(264, 0, 0), value(8), false);
    grid->tree().addTile(2, Coord(512, 0, 0), value(9), true);
    grid->tree().addTile(3, Coord(8192, 0, -4096), value(11), true);
    return grid;
}

template <class G> void dump(const GridBase::Ptr& base, std::ofstream& out)
{
    auto accessor = gridPtrCast<G>(base)->getConstAccessor();
    const CoordBBox boxes[] = {CoordBBox(Coord(-16, -8, -8), Coord(15, 7, 15)), CoordBBox(Coord(254, -2, -2),
        Coord(273, 5, 5)), CoordBBox(Coord(510, -2, -2), Coord(513, 1, 1)), CoordBBox(Coord(8190, -2, -2), Coord(8193, 1, 1))};
    for (auto& box : boxes) for (auto at = box.begin(); at; ++at) {
        typename G::ValueType value = accessor.getValue(*at);
        char active = accessor.isValueOn(*at);
        out.write((const char*)&value, sizeof value);
        out.write(&active, 1);
    }
}

int main()
{
    initialize();
    GridPtrVec grids;
    grids.push_back(make<DoubleGrid>("double", -1.5, [](int i) { return i * 0.1; }));
    grids.push_back(make<DoubleGrid>("double as half", 0, [](int i) { return i * 0.1; }));
    grids.back()->setSaveFloatAsHalf(true);
    grids.push_back(make<Int32Grid>("int32", -3, [](int i) { return i * 100001 - 7; }));
    grids.push_back(make<Int64Grid>("int64", 0, [](int i) { return Int64(i) * 10000000001L; }));
    grids.push_back(make<BoolGrid>("bool", true, [](int i) { return i % 3 != 0; }));
    grids.push_back(make<MaskGrid>("mask", false, [](int i) { return true; }));
    grids.push_back(make<Vec3IGrid>("vec3i", Vec3i(0), [](int i) { return Vec3i(i, -i, 3 * i); }));
    grids.push_back(make<Vec3DGrid>("vec3d", Vec3d(1, 2, 3), [](int i) { return Vec3d(i * 0.3, -i, i / 7.); }));
    {
        std::ofstream file("types_stream.vdb", std::ios::binary);
        io::Stream stream(file);
        stream.setCompression(io::COMPRESS_ZIP | io::COMPRESS_ACTIVE_MASK);
        stream.write(grids);
    }
    std::ofstream out("types.bin", std::ios::binary);
    for (auto& grid : grids) {
        if (grid->type() == "Tree_mask_5_4_3") dump<MaskGrid>(grid, out);
        else if (grid->valueType() == "double") {
            if (grid->saveFloatAsHalf()) {  // what the file holds
                io::File file("half.vdb");
                file.write(GridPtrVec{grid});
                file.open(false);
                dump<DoubleGrid>(file.readGrid(grid->getName()), out);
            } else dump<DoubleGrid>(grid, out);
        } else if (grid->valueType() == "int32") dump<Int32Grid>(grid, out);
        else if (grid->valueType() == "int64") dump<Int64Grid>(grid, out);
        else if (grid->valueType() == "bool") dump<BoolGrid>(grid, out);
        else if (grid->valueType() == "vec3i") dump<Vec3IGrid>(grid, out);
        else dump<Vec3DGrid>(grid, out);
    }
    using Pairs = Grid<tree::Tree4<Vec2s, 5, 4, 3>::Type>;
    Pairs::registerGrid();
    grids.insert(grids.begin(), make<Pairs>("pairs", Vec2s(0), [](int i) { return Vec2s(i); }));
    auto instance = make<DoubleGrid>("instance", 0, [](int) { return 0.; });
    instance->setTree(gridPtrCast<DoubleGrid>(grids[1])->treePtr());
    grids.push_back(instance);
    io::File file("types.vdb");
    file.setCompression(io::COMPRESS_BLOSC | io::COMPRESS_ACTIVE_MASK);
    file.write(grids);
}
